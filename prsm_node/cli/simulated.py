"""What `simulate` runs: replicas, or whole daemons, whose rooms are loaded only where they are asked for."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from consensus.simulation.cluster import Event
from consensus.simulation.probes import probed
from consensus.simulation.run import Verdict, play
from consensus.simulation.scenario import Scenario
from consensus.simulation.schedule import Schedule, schedule_of
from consensus.simulation.shrinking import Attempt, shrink
from consensus.simulation.timeline import lines

Lines = Callable[[Verdict, Sequence[Event]], Iterator[str]]


class Traced(NamedTuple):
    """A run, to be shown."""

    verdict: Verdict
    trace: list[Event]
    lines: Lines
    """Its timeline."""
    digest: str | None
    """Of whole daemons: of all that happened."""


def drawn(plan: Scenario, seed: int, nodes: int | None, *, daemons: bool) -> Schedule:
    """What befalls the cluster of a seed."""
    if not daemons:
        return schedule_of(plan, seed, nodes)
    from prsm_node.simulation import schedule

    return schedule.drawn(plan, seed, nodes)


def verdict_of(
    plan: Scenario, seed: int, nodes: int | None, steps: int | None, *, daemons: bool, probes: bool
) -> Verdict:
    """Run a seed."""
    if daemons:
        from prsm_node.simulation import run

        return run.simulate(plan, seed, nodes)
    schedule = schedule_of(plan, seed, nodes)
    return probed(schedule, steps) if probes else play(schedule, steps=steps).verdict


def traced(schedule: Schedule, steps: int | None = None) -> Traced:
    """Run a schedule again and keep what happens."""
    if schedule.daemons:
        from prsm_node.simulation import run, timeline

        whole = run.play(schedule, trace=True)
        return Traced(whole.verdict, whole.trace, timeline.lines, whole.digest)
    played = play(schedule, trace=True, steps=steps)
    return Traced(played.verdict, played.trace, lines, None)


def attempts(plan: Scenario, seed: int, nodes: int | None, *, daemons: bool) -> Iterator[Attempt]:
    """Shrink a seed that fails."""
    if not daemons:
        return shrink(plan, seed, nodes)
    from prsm_node.simulation import run, schedule

    return shrink(plan, seed, nodes, draw=schedule.drawn, play=run.play)
