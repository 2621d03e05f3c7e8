"""What a node takes of the machine that it runs on: clocks, randomness, disks, the network, other cores.

It is asked for here and nowhere else, so that a simulation runs the same node on a machine of its own, where
time, disks and links are part of a seed.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

from prsm_node.genesis import Genesis
from prsm_node.network import transport
from prsm_node.network.peer_records import PeerFile, PeerRecords
from prsm_node.network.transport import Transport
from prsm_node.storage.history import ReadBody
from prsm_node.storage.journal import Journal
from prsm_node.storage.state import State
from prsm_node.verification.worker_verifier import VerifierStats, WorkerVerifier

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # libp2p brings these stubs, which hide trio's own

T = TypeVar("T")


class OwnedVerifier(Protocol):
    """A Verifier that a node owns while it runs."""

    async def check(self, raws: Sequence[bytes]) -> bytes: ...
    def stats(self) -> VerifierStats: ...
    async def run(self, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None: ...


class Machine:
    """The one that this process runs on."""

    def now_ms(self) -> int:
        """The host's clock, Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def clock(self) -> float:
        """A monotonic clock, seconds."""
        return trio.current_time()

    def clock_ms(self) -> int:
        """The same, whole milliseconds: waits are measured by it, since `now_ms` may be set back by days."""
        return int(self.clock() * 1000)

    def stopwatch(self) -> float:
        """Seconds of a core that this thread has used."""
        return time.thread_time()

    def entropy(self, size: int) -> bytes:
        """Bytes that nobody can guess."""
        return secrets.token_bytes(size)

    def journal(self, directory: Path) -> Journal:
        """Raise StorageError."""
        return Journal.open(directory)

    def state(self, directory: Path, genesis: Genesis, read_body: ReadBody) -> State:
        """Raise StorageError."""
        return State.open(directory, genesis, read_body, clock=self.clock)

    def verifier(self, network: bytes, workers: int) -> OwnedVerifier:
        return WorkerVerifier(network, workers)

    async def offload(self, work: Callable[[], T]) -> T:
        """Run what may block, in a thread."""
        return await trio.to_thread.run_sync(work)

    def peer_records(self, file: Path) -> PeerRecords:
        return PeerFile(file, self.offload)

    def transport(self, seed: bytes, links_max: int, stall_s: float) -> Transport:
        return transport.libp2p(seed, links_max, stall_s)
