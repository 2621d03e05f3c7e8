"""One seed of a scenario, from the drawing of the cluster to the verdict."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from consensus.agreement.timeouts import Timeouts
from consensus.simulation.byzantine import ACTORS
from consensus.simulation.chance import Moment, Outcome
from consensus.simulation.cluster import Cluster, Event, Stopped
from consensus.simulation.faults import Faults
from consensus.simulation.scenario import Scenario
from consensus.simulation.schedule import Fault, Place, Schedule, Unusual, schedule_of
from consensus.simulation.violation import Violation
from consensus.timers import TimerKind

NEW_BLOCKS = 3
"""What each honest validator must decide beyond the highest of the faulty time, once all is calm."""
ROUND_WAITS = (TimerKind.PROPOSE, TimerKind.PREVOTE, TimerKind.PRECOMMIT)


class Verdict(msgspec.Struct, frozen=True):
    """What became of one seed."""

    seed: int
    nodes: int
    faulty: tuple[str, ...]
    height: int
    delivered: int
    """Messages."""
    steps: int
    """What the cluster did, one after the other: arrivals, timers, syncs, faults."""
    virtual_ms: int
    recovered_ms: int
    """From the calm to new blocks at every honest validator; -1 where it is not asked."""
    effects: dict[str, int]
    promise: str | None = None
    """The promise that was broken."""
    violation: str | None = None
    probes: dict[str, int] = {}
    """How often each was reached, if they were asked for (probes.py)."""


class Run(NamedTuple):
    """A schedule, run to its end or to the first broken promise."""

    verdict: Verdict
    trace: list[Event]
    """Empty if none was asked for."""
    schedule: Schedule
    """What was run; with `record`, every outcome in it and nothing that did not happen."""
    played: list[Fault]
    """What befell the cluster."""
    reached_ms: dict[Place, float]
    """When each round was voted in first."""


def simulate(
    scenario: Scenario, seed: int, nodes: int | None = None, *, trace: bool = False
) -> tuple[Verdict, list[Event]]:
    """Run one seed."""
    run = play(schedule_of(scenario, seed, nodes), trace=trace)
    return run.verdict, run.trace


def play(schedule: Schedule, *, trace: bool = False, record: bool = False, steps: int | None = None) -> Run:
    """Run a schedule to its end, to the first broken promise, or through its first `steps` steps."""
    scenario, chance = schedule.scenario, schedule.chance(record=record)
    actors = {one.who: ACTORS[one.actor] for one in schedule.faulty}
    cluster = Cluster(
        chance,
        schedule.powers,
        scenario.links,
        actors=actors,
        changes_every=scenario.changes_every,
        jails=scenario.jails,
        trace=trace,
    )
    cluster.steps_max = steps
    violation: Violation | None = None
    recovered_ms = -1
    faults = Faults(cluster, schedule)
    cluster.on_vote = faults.reached
    try:
        cluster.start()
        faults.begin()
        cluster.run(schedule.calm_ms if schedule.end_ms is None else schedule.end_ms)
        if schedule.end_ms is None:
            faults.calm()
        if schedule.end_ms is None and cluster.invariants.bounded:
            recovered_ms = _recovered(cluster, scenario)
    except Violation as found:
        violation = found
        cluster.record("violation", None, str(found))
    except Stopped:
        cluster.record("stopped", None, f"after {cluster.steps} steps")
    verdict = _verdict(cluster, schedule, recovered_ms, violation)
    if chance.taken is not None:
        schedule = _recorded(schedule, faults.played, chance.taken, verdict.promise)
    return Run(verdict, cluster.trace or [], schedule, faults.played, faults.reached_ms)


def _recorded(
    schedule: Schedule, played: Sequence[Fault], taken: dict[Moment, Outcome], promise: str | None
) -> Schedule:
    """What happened, with every outcome by name."""
    unusual = [Unusual(place, came, outcome) for (place, came), outcome in taken.items()]
    return replace(schedule, entries=(*played, *unusual), recorded=True, promise=promise)


def _verdict(cluster: Cluster, schedule: Schedule, recovered_ms: int, violation: Violation | None) -> Verdict:
    effects: Counter[str] = Counter()
    for validator in cluster.all:
        effects.update(validator.seen)
    return Verdict(
        seed=schedule.seed,
        nodes=len(cluster.validators),
        faulty=tuple(f"{v.name} {type(v).__name__}" for v in cluster.all if not v.honest),
        height=len(cluster.invariants.chain),
        delivered=cluster.delivered,
        steps=cluster.steps,
        virtual_ms=int(cluster.elapsed_ms),
        recovered_ms=recovered_ms,
        effects=dict(sorted(effects.items())),
        promise=violation.promise if violation is not None else None,
        violation=str(violation) if violation is not None else None,
    )


def _recovered(cluster: Cluster, scenario: Scenario) -> int:
    """Return how long after the calm all honest validators had new blocks. Raise Violation.

    The bound counts without the waits of rounds that the rotation gives to faulty proposers. Where nothing is
    there to order, blocks come a heartbeat apart, which breaks no promise: who is left without a batch, as by
    a schedule that was cut short, has as much longer as a first batch or those heartbeats take.
    """
    calm_ms = cluster.elapsed_ms
    goal = max(cluster.heights()) + NEW_BLOCKS

    def reached() -> bool:
        return min(len(v.blocks) for v in cluster.honest) >= goal

    if not cluster.run(scenario.calm_bound_ms + _spoiled_ms(cluster, goal), until=reached):
        idle_ms = [at_ms - calm_ms for at_ms in cluster.sealed_ms if at_ms >= calm_ms]
        idle_ms.append(NEW_BLOCKS * cluster.rules.heartbeat_ms)
        if not cluster.run(min(idle_ms), until=reached):
            stood = ", ".join(f"{v.name} {len(v.blocks)}" for v in cluster.honest)
            bound = int(cluster.elapsed_ms - calm_ms)
            raise Violation(
                "liveness after the network calms", f"not all reached height {goal} in {bound} ms: {stood}"
            )
    return int(cluster.elapsed_ms - calm_ms)


def _spoiled_ms(cluster: Cluster, goal: int) -> int:
    """Return how long the heights up to `goal` wait for faulty proposers, each until its first honest one, by
    the least that a round waits."""
    honest = {validator.key for validator in cluster.honest}
    furthest = max(cluster.honest, key=lambda validator: len(validator.blocks))
    validators = furthest.replica.height.validators
    waits = Timeouts()
    spoiled = 0
    for height in range(furthest.replica.height.height, goal + 1):
        for round_ in range(len(validators.powers)):
            if validators.proposer(height, round_) in honest:
                break
            spoiled += sum(waits.delay_ms(kind, round_) for kind in ROUND_WAITS)
    return spoiled
