"""The files of a simulated run: timeline, diagram, and the short schedule that a failing seed comes to."""

import time
from pathlib import Path
from typing import Final, NamedTuple

from consensus.simulation.run import Run, play
from consensus.simulation.scenario import Scenario
from consensus.simulation.schedule import Schedule, schedule_from, text_of
from consensus.simulation.shrinking import shrink
from consensus.simulation.timeline import lines
from prsm_node import bounded_file
from prsm_node.cli.simulate_progress import Bar
from prsm_node.cli.space_time import page
from prsm_node.errors import OperatorError

SCHEDULE_BYTES_MAX: Final = 64 * 1024 * 1024


class Files(NamedTuple):
    """What was written about a failing seed."""

    timeline: Path
    diagram: Path
    schedule: Path | None
    """None if it was not shrunk."""
    events: int | None
    """How long the schedule is."""


def schedule_in(path: Path) -> Schedule:
    """Read a schedule that shrinking wrote. Raise OperatorError."""
    if not path.exists() or path.is_dir():
        raise OperatorError(f"there is no file {path}; give one that simulate wrote")
    try:
        return schedule_from(bounded_file.read(path, SCHEDULE_BYTES_MAX, "schedule").decode())
    except ValueError as error:
        raise OperatorError(f"{path} is no schedule that can be replayed: {error}") from None


def shrunk(scenario: Scenario, seed: int, nodes: int | None, seconds: float) -> Schedule | None:
    """Make a failing seed short for so long at most, with progress. None if it does not fail, or no time is
    given."""
    if seconds <= 0:
        return None
    bar, ends = Bar(seconds), time.monotonic() + seconds
    best: Schedule | None = None
    for attempt in shrink(scenario, seed, nodes):
        best = attempt.best
        bar.show(
            bar.elapsed_s, f"shrinking seed {seed}: {best.events()} events left after {attempt.tries} tries"
        )
        if time.monotonic() >= ends:
            break
    bar.clear()
    return best


def of_failure(whole: Schedule, short: Schedule | None, out: Path) -> Files:
    """Write what happened in a failing seed: the timeline of all of it, and the diagram of the short schedule
    if there is one."""
    name = f"simulate-{whole.seed}"
    timeline = write_timeline(play(whole, trace=True), out / f"{name}.txt")
    diagram = write_diagram(play(short or whole, trace=True), out / f"{name}.html")
    if short is None:
        return Files(timeline, diagram, None, None)
    schedule = out / f"{name}.json"
    schedule.write_text(text_of(short), encoding="utf-8")
    return Files(timeline, diagram, schedule, short.events())


def of_daemons(scenario: Scenario, seed: int, nodes: int | None, out: Path) -> Path:
    """Run a seed with whole daemons and write what happens in it; return the timeline's file."""
    from prsm_node.simulation import run  # loads the whole node

    verdict, trace = run.simulate(scenario, seed, nodes, trace=True)
    path = out / f"simulate-daemons-{seed}.txt"
    path.write_text("\n".join(lines(verdict, trace)) + "\n", encoding="utf-8")
    return path


def write_timeline(run: Run, path: Path) -> Path:
    path.write_text("\n".join(lines(run.verdict, run.trace)) + "\n", encoding="utf-8")
    return path


def write_diagram(run: Run, path: Path) -> Path:
    path.write_text(page(run.verdict, run.trace), encoding="utf-8")
    return path
