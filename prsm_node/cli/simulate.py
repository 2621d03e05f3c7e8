"""`prsm-node simulate`: attack a cluster of replicas, seed after seed, in virtual time."""

import re
import tomllib
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from consensus.simulation.probes import PROBES, unreached
from consensus.simulation.run import Verdict
from consensus.simulation.scenario import Scenario, scenario_of
from consensus.simulation.schedule import Schedule
from prsm_node import bounded_file
from prsm_node.cli import simulate_files as files
from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_fields, print_json, print_table, say
from prsm_node.cli.simulate_progress import Bar
from prsm_node.cli.simulated import drawn, traced, verdict_of
from prsm_node.cli.termination import as_by_ctrl_c
from prsm_node.errors import OperatorError

PACKAGE = Path(__file__).resolve().parents[1]
SHIPPED = (PACKAGE / "scenarios", PACKAGE.parent / "configs" / "scenarios")
"""In an installed wheel, and in a clone."""
SEEDS = "0..99"
SCENARIO = "mixed"
SCENARIO_BYTES_MAX = 65_536
SEED_MAX = 999_999_999_999
FAILURES_TOLD = 10
SHRUNK_MAX = 3
"""Failing seeds that are shrunk: the first to break each promise, and so many promises at most."""


def run(
    nodes: Annotated[
        int | None, typer.Option(help="Validators; drawn by the seed if not given.", min=1, max=31)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="One seed, with its timeline in a file.", min=0, max=SEED_MAX)
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="A..B", help=f"These seeds, both included; {SEEDS} if not given.")
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help=f"A shipped scenario or a TOML file, else {SCENARIO}."),
    ] = None,
    daemons: Annotated[
        bool, typer.Option("--daemons", help="Whole daemons on simulated machines and wires.")
    ] = False,
    jobs: Annotated[int, typer.Option(help="Processes that share the seeds.", min=1, max=256)] = 1,
    steps: Annotated[
        int | None, typer.Option(help="Stop each run after so many steps, to halve towards a fault.", min=1)
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Run the schedule that a failing seed was shrunk to.")
    ] = None,
    diagram: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the run that --seed or --replay names, as HTML.")
    ] = None,
    probes: Annotated[
        bool, typer.Option("--probes", help="Count which rules, faults and ways to recover were reached.")
    ] = False,
    shrink: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long to shrink a failing seed; 0: not.", min=0)
    ] = 60.0,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where timelines, diagrams and schedules go.")
    ] = Path(),
    json: JsonFlag = False,
) -> int:
    """Attack a cluster of replicas in virtual time.

    Each seed draws a cluster, its faulty members and what befalls them, and is checked at every step. A seed
    that breaks a promise is printed with the command that replays it, and shrunk to a short schedule; its
    timeline and a diagram of who sent what to whom are written. Exit code 1 then.

    With --daemons each validator is the whole daemon with its ledger and disk; clients pay through it, and
    what they were told must stay true. Disks fill up and fail, clocks leap by days, and the faulty run their
    validators twice or have what they say altered on its way. Four of them if --nodes does not say.
    """
    given = {"--nodes": nodes, "--seed": seed, "--seeds": seeds, "--scenario": scenario}
    _check(given, replay, diagram)
    if daemons:
        _check_daemons(steps)
    with as_by_ctrl_c():
        if replay is not None:
            return _replay(replay, steps, diagram, out, json, daemons=daemons)
        attack = _Attack(scenario or SCENARIO, nodes, steps, shrink, out, daemons)
        first, last = (seed, seed) if seed is not None else _range(SEEDS if seeds is None else seeds)
        _make(out)
        asked = range(first, last + 1)
        found = verdicts_of(attack.plan, asked, nodes, jobs, steps, daemons=daemons, probes=probes)
        with closing(found):
            verdicts, running_s = _judged(attack, found, len(asked))
        if seed is not None:
            attack.look(seed, diagram)
    counted = _counted(verdicts, attack.probes) if probes else None
    _print(attack, verdicts, max(running_s, 1e-9), counted, json)
    return 1 if attack.failures else 0


def _judged(attack: "_Attack", found: Iterable[Verdict], many: int) -> tuple[list[Verdict], float]:
    """Take the verdicts, with progress, and tell of those that failed. Return them, and how many seconds it
    took besides the telling."""
    bar = Bar(many)
    bar.begin(f"0 of {many} seeds")
    verdicts: list[Verdict] = []
    telling_s = 0.0
    for verdict in found:
        verdicts.append(verdict)
        if verdict.violation is not None:
            bar.clear()
            before_s = bar.elapsed_s
            attack.failed(verdict)
            telling_s += bar.elapsed_s - before_s
        rate = len(verdicts) / max(bar.elapsed_s - telling_s, 1e-9)
        count = f"{len(verdicts)} of {many} seeds, {len(attack.failures)} failed"
        bar.show(len(verdicts), f"{count}, {rate:.1f} seeds/s, {(many - len(verdicts)) / rate:.0f} s left")
    bar.clear()
    return verdicts, bar.elapsed_s - telling_s


class _Attack:
    """What is done with the seeds that fail."""

    def __init__(
        self, name: str, nodes: int | None, steps: int | None, shrink_s: float, out: Path, daemons: bool
    ) -> None:
        self.name, self.plan, self.daemons = name, load(name), daemons
        self.failures: list[dict[str, Any]] = []
        self._nodes, self._steps, self._shrink_s, self._out = nodes, steps, shrink_s, out
        self._shrunk: dict[str | None, int] = {}

    @property
    def probes(self) -> Sequence[str]:
        """What is counted."""
        if not self.daemons:
            return PROBES
        from prsm_node.simulation.probes import SEEN

        return tuple(SEEN)

    def unreached(self, verdicts: Sequence[Verdict]) -> list[str]:
        """Which of these was reached nowhere."""
        if not self.daemons:
            return unreached(verdicts, self.plan)
        return [probe for probe in self.probes if not any(verdict.probes[probe] for verdict in verdicts)]

    def failed(self, verdict: Verdict) -> None:
        """Say so, and write what happened; of many, only count the later ones."""
        nodes = f" --nodes {self._nodes}" if self._nodes else ""
        whole = " --daemons" if self.daemons else ""
        again = f"prsm-node simulate{whole} --scenario {self.name} --seed {verdict.seed}{nodes}"
        failure: dict[str, Any] = {
            "seed": verdict.seed,
            "promise": verdict.promise,
            "violation": verdict.violation,
            "replay": again,
        }
        self.failures.append(failure)
        if len(self.failures) > FAILURES_TOLD:
            if len(self.failures) == FAILURES_TOLD + 1:
                say(f"seed {verdict.seed} broke a promise too; from here on they are only counted")
            return
        say(f"seed {verdict.seed} broke a promise: {verdict.violation}")
        say(f"  replay:   {again}")
        short = None
        if verdict.promise not in self._shrunk and len(self._shrunk) < SHRUNK_MAX:
            self._shrunk[verdict.promise] = verdict.seed
            short = files.shrunk(self.plan, verdict.seed, self._nodes, self._shrink_s, daemons=self.daemons)
        written = files.of_failure(self._drawn(verdict.seed), short, self._out)
        failure |= {"timeline": str(written.timeline), "diagram": str(written.diagram)}
        say(f"  timeline: {written.timeline}")
        if short is not None:
            failure |= {"schedule": str(written.schedule), "events": short.events()}
            left = "" if short.recorded else ", and what the seed draws of delays and disks"
            failure["replay_shrunk"] = f"prsm-node simulate{whole} --replay {written.schedule}"
            say(f"  shrunk:   {short.events()} events{left}; {failure['replay_shrunk']}")
        elif self._shrink_s > 0 and self._shrunk.get(verdict.promise, verdict.seed) != verdict.seed:
            say(f"  shrunk:   not, as seed {self._shrunk[verdict.promise]} broke the same promise")
        say(f"  diagram:  {written.diagram}")

    def look(self, seed: int, diagram: Path | None) -> None:
        """Write what happened in one seed, which may have kept every promise."""
        schedule = self._drawn(seed)
        run = traced(schedule, self._steps)
        if not self.failures:
            path = files.write_timeline(run, self._out / f"{files.name_of(schedule)}.txt")
            say(f"the timeline of seed {seed} is in {path}")
        if diagram is not None:
            say(f"its diagram is in {files.write_diagram(run, diagram)}")

    def _drawn(self, seed: int) -> Schedule:
        return drawn(self.plan, seed, self._nodes, daemons=self.daemons)


def _check(given: Mapping[str, object], replay: Path | None, diagram: Path | None) -> None:
    """Raise OperatorError where options do not go together."""
    if given["--seed"] is not None and given["--seeds"] is not None:
        raise OperatorError("--seed and --seeds are both given; give one of them")
    also = next((name for name, value in given.items() if value is not None), None)
    if replay is not None and also is not None:
        raise OperatorError(f"--replay {replay} says all that is run; leave {also} out")
    if diagram is not None and replay is None and given["--seed"] is None:
        raise OperatorError("--diagram draws one run; say which with --seed or --replay")


def _check_daemons(steps: int | None) -> None:
    """Raise OperatorError for what only replicas can be asked for."""
    if steps is not None:
        raise OperatorError("--steps is for replicas; leave it out where whole daemons are attacked")


def _replay(
    path: Path, steps: int | None, diagram: Path | None, out: Path, json: bool, *, daemons: bool
) -> int:
    """Run a schedule from its file."""
    schedule = files.schedule_in(path)
    if daemons and not schedule.daemons:
        raise OperatorError(f"{path} is a schedule for replicas; leave --daemons out")
    if schedule.daemons:
        _check_daemons(steps)
    _make(out)
    run = traced(schedule, steps)
    verdict = run.verdict
    timeline = files.write_timeline(run, out / f"{path.stem}-replay.txt")
    say(f"the timeline is in {timeline}")
    if diagram is not None:
        say(f"the diagram is in {files.write_diagram(run, diagram)}")
    if json:
        print_json(
            {
                "schedule": str(path),
                "events": schedule.events(),
                "nodes": verdict.nodes,
                "promise": verdict.promise,
                "violation": verdict.violation,
                "height": verdict.height,
                "messages": verdict.delivered,
                "steps": verdict.steps,
                "virtual_ms": verdict.virtual_ms,
                "timeline": str(timeline),
                "digest": run.digest,
            }
        )
    else:
        told = verdict.violation or "every promise was kept"
        if verdict.violation is None and schedule.promise is not None:
            told += f", where it broke before: {schedule.promise}"
        print_fields(
            [
                ("schedule", f"{schedule.events()} events, {verdict.nodes} validators"),
                ("faulty", ", ".join(verdict.faulty) or "none"),
                ("ran", f"{verdict.virtual_ms} virtual ms, {verdict.steps} steps"),
                ("verdict", told),
            ]
        )
    return 1 if verdict.violation is not None else 0


def load(name: str) -> Scenario:
    """Read a shipped scenario by name, or a file. Raise OperatorError."""
    path = Path(name)
    if path.suffix != ".toml" and not path.is_file():
        path = next((f for at in SHIPPED if (f := at / f"{name}.toml").is_file()), path)
    if not path.exists() or path.is_dir():
        known = ", ".join(shipped())
        raise OperatorError(f"there is no scenario {name}; choose a TOML file or one of: {known}")
    try:
        return scenario_of(tomllib.loads(bounded_file.read(path, SCENARIO_BYTES_MAX, "scenario").decode()))
    except (ValueError, RecursionError) as error:
        raise OperatorError(f"scenario {name} can't be read: {error}") from None


def shipped() -> list[str]:
    """The names of the scenarios that come with the program."""
    return sorted({path.stem for at in SHIPPED for path in at.glob("*.toml")})


def verdicts_of(
    plan: Scenario,
    seeds: range,
    nodes: int | None,
    jobs: int,
    steps: int | None = None,
    *,
    daemons: bool = False,
    probes: bool = False,
) -> Generator[Verdict]:
    """Run these seeds, each on its own, in the order of the seeds."""
    if jobs == 1 or len(seeds) == 1:
        for seed in seeds:
            yield verdict_of(plan, seed, nodes, steps, daemons=daemons, probes=probes)
        return
    from functools import partial

    from prsm_node.cli.simulate_workers import in_order
    from prsm_node.simulation.folders import clear

    of_seed = partial(verdict_of, plan, nodes=nodes, steps=steps, daemons=daemons, probes=probes)
    try:
        yield from in_order(of_seed, seeds, jobs)
    finally:
        if daemons:
            clear()  # what workers leave that were ended in the middle of a seed


def _counted(verdicts: Sequence[Verdict], probes: Sequence[str]) -> list[tuple[str, int, int]]:
    """Each probe, in how many seeds it was reached, and how often in all."""
    return [
        (probe, sum(v.probes[probe] > 0 for v in verdicts), sum(v.probes[probe] for v in verdicts))
        for probe in probes
    ]


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "a file" if isinstance(error, FileExistsError) else (error.strerror or "not usable").lower()
        raise OperatorError(f"--out is {out}: {why}; give a folder that can be written to") from None


def _range(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,12})\.\.(\d{1,12})", text)
    if found is None or int(found[1]) > int(found[2]):
        raise OperatorError(f"--seeds is {text!r}; give a first and a last seed, as in 0..99")
    return int(found[1]), int(found[2])


def _print(
    attack: _Attack,
    verdicts: Sequence[Verdict],
    elapsed_s: float,
    counted: list[tuple[str, int, int]] | None,
    json: bool,
) -> None:
    delivered = sum(verdict.delivered for verdict in verdicts)
    recovered = sorted(v.recovered_ms for v in verdicts if v.recovered_ms >= 0)
    blocks = sum(v.height for v in verdicts)
    if json:
        probed = {probe: {"seeds": seeds, "times": times} for probe, seeds, times in counted or ()}
        print_json(
            ({"probes": probed, "unreached": attack.unreached(verdicts)} if counted is not None else {})
            | {
                "scenario": attack.name,
                "daemons": attack.daemons,
                "seeds": len(verdicts),
                "failed": attack.failures,
                "heights": blocks,
                "messages": delivered,
                "virtual_ms": sum(v.virtual_ms for v in verdicts),
                "recovery_max_ms": recovered[-1] if recovered else None,
                "seeds_per_s": round(len(verdicts) / elapsed_s, 2),
                "messages_per_s": round(delivered / elapsed_s),
            }
        )
        return
    worst = f"{recovered[len(recovered) // 2]} ms at p50, {recovered[-1]} ms at most" if recovered else "-"
    print_fields(
        [
            ("scenario", f"{attack.name}: {attack.plan.about}" if attack.plan.about else attack.name),
            ("seeds", f"{len(verdicts)}, {len(attack.failures)} broke a promise"),
            ("blocks", f"{blocks:,}"),
            ("messages", f"{delivered:,}, {delivered / elapsed_s:,.0f} a second"),
            ("calm to new blocks", worst),
            ("speed", f"{len(verdicts) / elapsed_s:.1f} seeds a second"),
        ]
    )
    if counted is not None:
        print_table(("probe", "seeds", "times"), [row for row in counted if row[1]], right=(1, 2))
        missing = attack.unreached(verdicts)
        say(f"not reached: {'; '.join(missing)}" if missing else "every probe was reached")
