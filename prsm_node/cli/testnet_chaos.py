"""`prsm-node testnet up --chaos SCENARIO`: the nodes of a local network under attack, and a report."""

import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import typer

from prsm_node.chaos import diagram, scenario
from prsm_node.chaos.carrier import How
from prsm_node.chaos.network import network
from prsm_node.chaos.report import Report, told
from prsm_node.chaos.run import Ended, Run, Settings
from prsm_node.chaos.schedule import schedule
from prsm_node.cli.output import print_fields, print_json, say
from prsm_node.errors import OperatorError

SECONDS: Final = 60.0
SECONDS_MAX: Final = 30 * 86_400.0
"""All faults of a run are drawn ahead."""
LOAD: Final = 50.0
SEEDS: Final = 1_000_000
SPARSE_S: Final = 10.0
"""Between progress lines where stderr is a file."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator asked for; None is the default."""

    scenario: str
    seconds: float | None
    seed: int | None
    load: float | None
    links: How | None
    json: bool


def settings_of(asked: Asked) -> Settings:
    """Raise OperatorError, before anything is started."""
    seconds = SECONDS if asked.seconds is None else asked.seconds
    if seconds < 10:
        raise OperatorError(f"--for is {seconds:g}; chaos takes 10 s at least")
    if seconds > SECONDS_MAX:
        raise OperatorError(f"--for is {seconds:g}; chaos takes {SECONDS_MAX:.0f} s, thirty days, at most")
    return Settings(
        scenario=scenario.load(asked.scenario),
        name=asked.scenario,
        seed=random.randrange(SEEDS) if asked.seed is None else asked.seed,
        seconds=seconds,
        load=LOAD if asked.load is None else asked.load,
    )


def chaos(homes: Sequence[Path], asked: Asked, settings: Settings, pictures: Path) -> int:
    """Attack the nodes of these homes; write the picture into the folder `pictures`. Return the exit code."""
    progress = Progress()
    faults = schedule(settings.scenario, settings.seed, len(homes), settings.seconds)
    if not faults:
        raise OperatorError(
            f"with seed {settings.seed} no fault of {settings.name} fits into {settings.seconds:g} s; "
            "choose a longer --for"
        )
    with network(homes, asked.links) as attacked:
        if attacked.alarm.ending:
            raise typer.Abort
        if asked.json:
            print_json({"event": "ready", "nodes": attacked.up})
        about = f": {settings.scenario.about}" if settings.scenario.about else ""
        say(f"{settings.name}, seed {settings.seed}, links by {attacked.carrier.how}{about}")
        run = Run(settings, faults, attacked, progress.line, progress)
        try:
            run.play()
        except Ended:
            return 1
        report = _reported(run, pictures)
    progress.done()
    if asked.json:
        print_json({"event": "report", **msgspec.to_builtins(report)})
    else:
        print_fields(told(report))
    early = report.seconds + 0.1 < settings.seconds
    if early:
        say(f"ended after {report.seconds:g} of {settings.seconds:g} s: what was not played shows nothing")
    return 1 if report.broken or early else 0


def _reported(run: Run, pictures: Path) -> Report:
    file = pictures / f"chaos-{Path(run.settings.name).stem}-{run.settings.seed}.html"
    report = run.report(str(file))
    slowest: dict[int, float] = {}
    for finality in run.finality:
        for second, (_, ms) in finality.seconds.items():
            at = second - int(run.began)
            slowest[at] = max(slowest.get(at, 0.0), ms)
    names = [home.name for home in run.homes]
    try:
        file.write_text(diagram.page(report, run.vitals.heights, slowest, names), encoding="utf-8")
    except OSError as error:  # a run of hours is told nevertheless
        say(f"the picture can't be written to {file}: {(error.strerror or '').lower()}; name a DIR of yours")
        report = msgspec.structs.replace(report, timeline="")
    return report


class Progress:
    """One line that is written over on a terminal; in a file one each SPARSE_S."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._terminal = sys.stderr.isatty()
        self._written = 0
        self._due = 0.0

    def __call__(self, text: str) -> None:
        if self._terminal:
            print("\r" + text.ljust(self._written), end="", file=sys.stderr, flush=True)
            self._written = len(text)
        elif self._clock() >= self._due:
            self._due = self._clock() + SPARSE_S
            say(text)

    def line(self, text: str) -> None:
        """Say what stays."""
        self.done()
        say(text)

    def done(self) -> None:
        """Take the progress line away."""
        if self._terminal and self._written:
            print("\r" + " " * self._written, end="\r", file=sys.stderr, flush=True)
            self._written = 0
