"""The files of a simulated run: timeline, diagram, and the short schedule that a failing seed comes to."""

import time
from pathlib import Path
from typing import Final, NamedTuple

from consensus.simulation.scenario import Scenario
from consensus.simulation.schedule import Schedule, schedule_from, text_of
from prsm_node import bounded_file
from prsm_node.cli.simulate_progress import Bar
from prsm_node.cli.simulated import Traced, attempts, traced
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


def shrunk(
    scenario: Scenario, seed: int, nodes: int | None, seconds: float, *, daemons: bool
) -> Schedule | None:
    """Make a failing seed short for so long at most, with progress. None if it does not fail, or no time is
    given."""
    if seconds <= 0:
        return None
    bar, ends = Bar(seconds), time.monotonic() + seconds
    best: Schedule | None = None
    for attempt in attempts(scenario, seed, nodes, daemons=daemons):
        best = attempt.best
        bar.show(
            bar.elapsed_s, f"shrinking seed {seed}: {best.events()} events left after {attempt.tries} tries"
        )
        if time.monotonic() >= ends:
            break
    bar.clear()
    return best


def name_of(schedule: Schedule) -> str:
    """What files about a seed are called."""
    return f"simulate-{'daemons-' * schedule.daemons}{schedule.seed}"


def of_failure(whole: Schedule, short: Schedule | None, out: Path) -> Files:
    """Write what happened in a failing seed: the timeline and the diagram of the short schedule if there is
    one, of all of it otherwise."""
    run, name = traced(short or whole), name_of(whole)
    timeline = write_timeline(run, out / f"{name}.txt")
    diagram = write_diagram(run, out / f"{name}.html")
    if short is None:
        return Files(timeline, diagram, None, None)
    schedule = out / f"{name}.json"
    schedule.write_text(text_of(short), encoding="utf-8")
    return Files(timeline, diagram, schedule, short.events())


def write_timeline(run: Traced, path: Path) -> Path:
    path.write_text("\n".join(run.lines(run.verdict, run.trace)) + "\n", encoding="utf-8")
    return path


def write_diagram(run: Traced, path: Path) -> Path:
    path.write_text(page(run.verdict, run.trace), encoding="utf-8")
    return path
