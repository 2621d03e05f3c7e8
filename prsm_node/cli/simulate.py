"""`prsm-node simulate`: attack a cluster of replicas, seed after seed, in virtual time."""

import re
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from consensus.simulation.run import Verdict, simulate
from consensus.simulation.scenario import Scenario, scenario_of
from consensus.simulation.timeline import lines
from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_fields, print_json, say
from prsm_node.errors import OperatorError

PACKAGE = Path(__file__).resolve().parents[1]
SHIPPED = (PACKAGE / "scenarios", PACKAGE.parent / "configs" / "scenarios")
"""In an installed wheel, and in a clone."""
PROGRESS_S = 1.0
FAILURES_SHOWN = 10


def run(
    nodes: Annotated[
        int | None, typer.Option(help="Validators; drawn by the seed if not given.", min=1, max=31)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="One seed, with its timeline in a file.", min=0)] = None,
    seeds: Annotated[str, typer.Option(metavar="A..B", help="These seeds, both ends included.")] = "0..99",
    scenario: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="A shipped scenario, or a TOML file.")
    ] = "mixed",
    jobs: Annotated[int, typer.Option(help="Processes that share the seeds.", min=1, max=256)] = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where timelines go; here if not given.")
    ] = None,
    json: JsonFlag = False,
) -> int:
    """Attack a cluster of replicas in virtual time.

    Each seed draws a cluster, its faulty members and what befalls them, and is checked at every step. A seed
    that breaks a promise is printed with the command that replays it, and its timeline is written. Exit code
    1 then.
    """
    plan = load(scenario)
    first, last = (seed, seed) if seed is not None else _range(seeds)
    verdicts, failed = [], []
    started = shown = time.monotonic()
    for verdict in verdicts_of(plan, range(first, last + 1), nodes, jobs):
        verdicts.append(verdict)
        if verdict.violation is not None:
            failed.append(verdict)
            if len(failed) <= FAILURES_SHOWN:
                _tell(verdict, plan, scenario, nodes, out or Path())
        if time.monotonic() - shown >= PROGRESS_S:
            shown = time.monotonic()
            _progress(len(verdicts), last - first + 1, len(failed), shown - started)
    elapsed = max(time.monotonic() - started, 1e-9)
    if seed is not None and not failed:
        say(f"the timeline of seed {seed} is in {_write(plan, seed, nodes, out or Path())}")
    delivered = sum(verdict.delivered for verdict in verdicts)
    recovered = sorted(v.recovered_ms for v in verdicts if v.recovered_ms >= 0)
    if json:
        print_json(
            {
                "scenario": scenario,
                "seeds": len(verdicts),
                "failed": [
                    {
                        "seed": v.seed,
                        "promise": v.promise,
                        "violation": v.violation,
                        "replay": _replay(scenario, v.seed, nodes),
                    }
                    for v in failed
                ],
                "heights": sum(v.height for v in verdicts),
                "messages": delivered,
                "virtual_ms": sum(v.virtual_ms for v in verdicts),
                "recovery_max_ms": recovered[-1] if recovered else None,
                "seeds_per_s": round(len(verdicts) / elapsed, 2),
                "messages_per_s": round(delivered / elapsed),
            }
        )
    else:
        worst = (
            f"{recovered[len(recovered) // 2]} ms at p50, {recovered[-1]} ms at most" if recovered else "-"
        )
        print_fields(
            [
                ("scenario", f"{scenario}: {plan.about}" if plan.about else scenario),
                ("seeds", f"{len(verdicts)}, {len(failed)} broke a promise"),
                ("blocks", sum(v.height for v in verdicts)),
                ("messages", f"{delivered}, {delivered / elapsed:,.0f} a second"),
                ("calm to new blocks", worst),
                ("speed", f"{len(verdicts) / elapsed:.1f} seeds a second"),
            ]
        )
    return 1 if failed else 0


def load(name: str) -> Scenario:
    """Read a shipped scenario by name, or a file. Raise OperatorError."""
    path = Path(name)
    if path.suffix != ".toml" and not path.is_file():
        path = next((f for at in SHIPPED if (f := at / f"{name}.toml").is_file()), path)
    try:
        return scenario_of(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        known = ", ".join(shipped())
        raise OperatorError(f"there is no scenario {name}; choose a TOML file or one of: {known}") from None
    except (ValueError, OSError) as error:
        raise OperatorError(f"scenario {name} can't be read: {error}") from None


def shipped() -> list[str]:
    """The names of the scenarios that come with the program."""
    return sorted({path.stem for at in SHIPPED for path in at.glob("*.toml")})


def verdicts_of(plan: Scenario, seeds: range, nodes: int | None, jobs: int) -> Iterator[Verdict]:
    """Run these seeds, each on its own, in the order of the seeds."""
    if jobs == 1 or len(seeds) == 1:
        for seed in seeds:
            yield _verdict(plan, seed, nodes)
        return
    from concurrent.futures import ProcessPoolExecutor
    from itertools import repeat
    from multiprocessing import get_context

    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        chunk = max(1, min(16, len(seeds) // (4 * jobs)))
        yield from pool.map(_verdict, repeat(plan), seeds, repeat(nodes), chunksize=chunk)


def _verdict(plan: Scenario, seed: int, nodes: int | None) -> Verdict:
    return simulate(plan, seed, nodes)[0]


def _range(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,12})\.\.(\d{1,12})", text)
    if found is None or int(found[1]) > int(found[2]):
        raise OperatorError(f"--seeds is {text}; give a first and a last seed, as in 0..99")
    return int(found[1]), int(found[2])


def _replay(scenario: str, seed: int, nodes: int | None) -> str:
    return f"prsm-node simulate --scenario {scenario} --seed {seed}" + (f" --nodes {nodes}" if nodes else "")


def _write(plan: Scenario, seed: int, nodes: int | None, out: Path) -> Path:
    """Run a seed again, and write what happens in it."""
    verdict, events = simulate(plan, seed, nodes, trace=True)
    path = out / f"simulate-{seed}.txt"
    path.write_text("\n".join(lines(verdict, events)) + "\n", encoding="utf-8")
    return path


def _tell(verdict: Verdict, plan: Scenario, scenario: str, nodes: int | None, out: Path) -> None:
    path = _write(plan, verdict.seed, nodes, out)
    say(f"seed {verdict.seed} broke a promise: {verdict.violation}")
    say(f"  replay:   {_replay(scenario, verdict.seed, nodes)}")
    say(f"  timeline: {path}")


def _progress(done: int, total: int, failed: int, elapsed_s: float) -> None:
    end = "\r" if sys.stderr.isatty() else "\n"
    rate = done / elapsed_s
    left = (total - done) / rate
    line = f"{done} of {total} seeds, {failed} failed, {rate:.1f} seeds/s, {left:.0f} s left "
    print(line, end=end, file=sys.stderr, flush=True)
