"""One seed of a scenario against whole daemons, from the drawing of the cluster to the verdict."""

import gc
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import structlog
import trio
from msgspec.structs import replace

from consensus.simulation.cluster import Event
from consensus.simulation.run import NEW_BLOCKS, Verdict
from consensus.simulation.scenario import Scenario
from consensus.simulation.schedule import Place, Schedule
from consensus.simulation.violation import Violation
from prsm_node.simulation import scheduling
from prsm_node.simulation.cluster import Cluster
from prsm_node.simulation.folders import folder
from prsm_node.simulation.probes import counted
from prsm_node.simulation.schedule import drawn
from prsm_node.simulation.trace import told

LIVENESS = "liveness after the network calms"
ASK_MS = 100.0


class Run(NamedTuple):
    """A schedule, run to its end or to the first broken promise."""

    verdict: Verdict
    trace: list[Event]
    """Empty if none was asked for."""
    digest: str
    """Of all that happened, traced or not: equal in every process."""
    schedule: Schedule
    """What was run, without what did not happen."""
    reached_ms: dict[Place, float]
    """When each round was voted in first."""


def simulate(scenario: Scenario, seed: int, nodes: int | None = None) -> Verdict:
    """Run one seed."""
    return play(drawn(scenario, seed, nodes)).verdict


def play(schedule: Schedule, *, trace: bool = False) -> Run:
    """Run a schedule to its end, or to the first broken promise."""
    try:
        with folder() as homes:
            return scheduling.run(lambda: _played(schedule, homes, trace), schedule.seed)
    finally:
        gc.collect()


async def _played(schedule: Schedule, homes: Path, trace: bool) -> Run:
    ends_ms = schedule.calm_ms if schedule.end_ms is None else schedule.end_ms
    recovered_ms = -1
    async with trio.open_nursery() as time, trio.open_nursery() as nursery:
        cluster = Cluster(schedule, homes, nursery, trace=trace)
        time.start_soon(cluster.future.run)
        with _logs_to(cluster):
            cluster.start()
            with trio.move_on_after(ends_ms / 1_000):
                await cluster.over.wait()
            if cluster.violation is None and schedule.end_ms is None:
                cluster.calm()
                recovered_ms = await _recovered(cluster, schedule.scenario.calm_bound_ms)
                cluster.check_standing()
            await cluster.stop()
            time.cancel_scope.cancel()
    verdict = _verdict(cluster, schedule.seed, recovered_ms)
    return Run(
        verdict,
        told(cluster.trace or [], cluster.names),
        cluster.digest(),
        replace(schedule, entries=tuple(cluster.faults.played), promise=verdict.promise),
        cluster.faults.reached_ms,
    )


async def _recovered(cluster: Cluster, bound_ms: int) -> int:
    """Return after what time of calm all honest daemons had new blocks, all earlier payments were final, and
    a block had convicted whom they held evidence against."""
    calm_ms = cluster.elapsed_ms
    goal = max(cluster.heights()) + NEW_BLOCKS
    unsettled = list(cluster.clients.unsettled)
    while cluster.violation is None:
        due = [digest for digest in unsettled if digest in cluster.clients.unsettled]
        unpunished = cluster.unpunished()
        if min(cluster.heights()) >= goal and not due and not unpunished:
            return int(cluster.elapsed_ms - calm_ms)
        if cluster.elapsed_ms - calm_ms >= bound_ms:
            stood = ", ".join(
                f"{process.name} {height}"
                for process, height in zip(cluster.honest, cluster.heights(), strict=True)
            )
            owed = f"{len(due)} payments not final, {', '.join(unpunished) or 'nobody'} still to be convicted"
            cluster.violate(
                Violation(LIVENESS, f"after {bound_ms} ms, height {goal} is asked of all: {stood}; {owed}")
            )
        await cluster.future.wait(ASK_MS)
    return -1


def _verdict(cluster: Cluster, seed: int, recovered_ms: int) -> Verdict:
    violation = cluster.violation
    return Verdict(
        seed=seed,
        nodes=len(cluster.genesis.validators),
        faulty=cluster.faulty,
        height=max(cluster.promises.chain, default=0),
        delivered=cluster.network.delivered,
        steps=sum(cluster.seen.values()),
        virtual_ms=int(cluster.elapsed_ms),
        recovered_ms=recovered_ms,
        effects=dict(sorted(cluster.seen.items())),
        promise=violation.promise if violation is not None else None,
        violation=str(violation) if violation is not None else None,
        probes=counted(cluster.seen),
    )


@contextmanager
def _logs_to(cluster: Cluster) -> Iterator[None]:
    """Give the cluster what the daemons log, and let none of it out."""
    before = structlog.get_config()

    def take(logger: Any, level: str, event: MutableMapping[str, Any]) -> Any:
        name = str(event.pop("process", ""))
        cluster.logged(name, f"{level} {event.pop('event')}", dict(event))
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, take],
        wrapper_class=structlog.BoundLogger,
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
