"""One seed of a scenario, from the drawing of the cluster to the verdict."""

from collections import Counter
from random import Random

import msgspec

from consensus.simulation.byzantine import ACTORS
from consensus.simulation.cluster import Cluster, Event, Make
from consensus.simulation.faults import Faults
from consensus.simulation.invariants import Violation
from consensus.simulation.scenario import Scenario

NEW_BLOCKS = 3
"""What each honest validator must decide beyond the highest of the faulty time, once all is calm."""


class Verdict(msgspec.Struct, frozen=True):
    """What became of one seed."""

    seed: int
    nodes: int
    faulty: tuple[str, ...]
    height: int
    delivered: int
    """Messages."""
    virtual_ms: int
    recovered_ms: int
    """From the calm to new blocks at every honest validator; -1 where it is not asked."""
    effects: dict[str, int]
    promise: str | None = None
    """The promise that was broken."""
    violation: str | None = None


def cluster_for(scenario: Scenario, seed: int, nodes: int | None, *, trace: bool) -> Cluster:
    """Draw the cluster: how many, how strong, who is faulty."""
    drawn = Random(seed)
    count = drawn.randint(scenario.nodes_min, scenario.nodes_max) if nodes is None else nodes
    powers = [drawn.randint(1, scenario.powers_max) for _ in range(count)]
    order = list(range(count))
    drawn.shuffle(order)
    actors: dict[int, tuple[Make, ...]] = {}
    if scenario.actors:
        weight = 0
        for i in order:
            over = 3 * (weight + powers[i]) >= sum(powers)
            if over and not scenario.over_a_third:
                continue
            weight += powers[i]
            actors[i] = ACTORS[drawn.choice(scenario.actors)]
            if over:
                break
    return Cluster(drawn, powers, scenario.links, actors=actors, trace=trace)


def simulate(
    scenario: Scenario, seed: int, nodes: int | None = None, *, trace: bool = False
) -> tuple[Verdict, list[Event]]:
    """Run one seed to its end or to the first broken promise."""
    cluster = cluster_for(scenario, seed, nodes, trace=trace)
    violation: Violation | None = None
    recovered_ms = -1
    try:
        faults = Faults(cluster, scenario)
        cluster.start()
        faults.begin()
        cluster.run(scenario.faults_ms)
        faults.calm()
        if cluster.invariants.bounded:
            recovered_ms = _recovered(cluster, scenario)
    except Violation as found:
        violation = found
        cluster.record("violation", None, str(found))
    effects: Counter[str] = Counter()
    for validator in cluster.all:
        effects.update(validator.seen)
    kinds = tuple(f"{v.name} {type(v).__name__}" for v in cluster.all if not v.honest)
    verdict = Verdict(
        seed=seed,
        nodes=len(cluster.validators),
        faulty=kinds,
        height=len(cluster.invariants.chain),
        delivered=cluster.delivered,
        virtual_ms=int(cluster.elapsed_ms),
        recovered_ms=recovered_ms,
        effects=dict(sorted(effects.items())),
        promise=violation.promise if violation is not None else None,
        violation=str(violation) if violation is not None else None,
    )
    return verdict, cluster.trace or []


def _recovered(cluster: Cluster, scenario: Scenario) -> int:
    calm_ms = cluster.elapsed_ms
    goal = max(cluster.heights()) + NEW_BLOCKS
    bound = scenario.calm_bound_ms
    if not cluster.run(bound, until=lambda: min(len(v.blocks) for v in cluster.honest) >= goal):
        stood = ", ".join(f"{v.name} {len(v.blocks)}" for v in cluster.honest)
        raise Violation(
            "liveness after the network calms", f"not all reached height {goal} in {bound} ms: {stood}"
        )
    return int(cluster.elapsed_ms - calm_ms)
