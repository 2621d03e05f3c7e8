"""One seed of a scenario against whole daemons, from the drawing of the cluster to the verdict."""

import gc
import os
import shutil
import tempfile
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
from consensus.simulation.schedule import Schedule, schedule_of
from consensus.simulation.violation import Violation
from prsm_node.simulation import scheduling
from prsm_node.simulation.cluster import Cluster

NODES = 4
LIVENESS = "liveness after the network calms"
ASK_MS = 100.0
MEMORY_DISK = Path("/dev/shm")
"""Where Linux keeps files in memory: nothing in a simulation needs to outlive it."""


class Run(NamedTuple):
    """A schedule, run to its end or to the first broken promise."""

    verdict: Verdict
    trace: list[Event]
    """Empty if none was asked for."""
    digest: str
    """Of the trace, kept or not: equal in every process."""


def simulate(
    scenario: Scenario, seed: int, nodes: int | None = None, *, trace: bool = False
) -> tuple[Verdict, list[Event]]:
    """Run one seed."""
    run = play(drawn(scenario, seed, nodes), trace=trace)
    return run.verdict, run.trace


def drawn(scenario: Scenario, seed: int, nodes: int | None = None) -> Schedule:
    """Draw what befalls the daemons. All of them are honest: a scenario's actors stay out."""
    return schedule_of(replace(scenario, actors=()), seed, nodes or NODES)


def play(schedule: Schedule, *, trace: bool = False) -> Run:
    """Run a schedule to its end, or to the first broken promise."""
    folder = Path(tempfile.mkdtemp(prefix="prsm-", dir=_memory_disk()))
    try:
        return scheduling.run(lambda: _played(schedule, folder, trace), schedule.seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        gc.collect()


async def _played(schedule: Schedule, folder: Path, trace: bool) -> Run:
    recovered_ms = -1
    async with trio.open_nursery() as nursery:
        cluster = Cluster(schedule, folder, nursery, trace=trace)
        with _logs_to(cluster):
            cluster.start()
            cluster.faults.begin()
            with trio.move_on_after(schedule.calm_ms / 1_000):
                await cluster.over.wait()
            if cluster.violation is None:
                cluster.faults.calm()
                recovered_ms = await _recovered(cluster, schedule.scenario.calm_bound_ms)
                cluster.check_standing()
            await cluster.stop()
            nursery.cancel_scope.cancel()
    return Run(_verdict(cluster, schedule, recovered_ms), cluster.trace or [], cluster.digest())


async def _recovered(cluster: Cluster, bound_ms: int) -> int:
    """Return after what time of calm all daemons had new blocks and all earlier payments were final."""
    calm_ms = cluster.elapsed_ms
    goal = max(cluster.heights()) + NEW_BLOCKS
    owed = list(cluster.clients.unsettled)
    while cluster.violation is None:
        due = [digest for digest in owed if digest in cluster.clients.unsettled]
        if min(cluster.heights()) >= goal and not due:
            return int(cluster.elapsed_ms - calm_ms)
        if cluster.elapsed_ms - calm_ms >= bound_ms:
            stood = ", ".join(
                f"{process.name} {height}"
                for process, height in zip(cluster.all, cluster.heights(), strict=True)
            )
            cluster.violate(
                Violation(
                    LIVENESS,
                    f"height {goal} not reached by all in {bound_ms} ms, or {len(due)} payments not "
                    f"final: {stood}",
                )
            )
        await cluster.future.wait(ASK_MS)
    return -1


def _verdict(cluster: Cluster, schedule: Schedule, recovered_ms: int) -> Verdict:
    violation = cluster.violation
    return Verdict(
        seed=schedule.seed,
        nodes=len(cluster.all),
        faulty=(),
        height=max(cluster.promises.chain, default=0),
        delivered=cluster.network.delivered,
        steps=sum(cluster.seen.values()),
        virtual_ms=int(cluster.elapsed_ms),
        recovered_ms=recovered_ms,
        effects=dict(sorted(cluster.seen.items())),
        promise=violation.promise if violation is not None else None,
        violation=str(violation) if violation is not None else None,
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


def _memory_disk() -> Path | None:
    return MEMORY_DISK if MEMORY_DISK.is_dir() and os.access(MEMORY_DISK, os.W_OK) else None
