"""The machine that a simulated daemon runs on: all of it from one seed, and an end at any step."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, TypeVar

import trio

from consensus.simulation.chance import Chance
from prsm_node.genesis import Genesis
from prsm_node.machine import Machine, OwnedVerifier
from prsm_node.network.addresses import Address
from prsm_node.network.transport import Transport
from prsm_node.simulation.disk import MachineDisk, SimulatedWriter
from prsm_node.simulation.future import Future
from prsm_node.simulation.liars import Liar
from prsm_node.simulation.wires import MemoryTransport, Wires
from prsm_node.storage.errors import StorageError
from prsm_node.storage.history import ReadBody
from prsm_node.storage.journal import Journal
from prsm_node.storage.state import State
from prsm_node.verification.verifier import InlineVerifier
from prsm_node.verification.worker_verifier import VerifierStats

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # libp2p brings these stubs, which hide trio's own

T = TypeVar("T")

START_MS = 1_700_000_000_000
"""What clocks that are right show when the simulation begins."""
SEGMENT_BYTES = 256 * 1024
"""Small, so that journals roll and are cut."""
MAP_BYTES = 64 * 2**20
COMMIT_MS = (0.5, 60.0)
CHECK_MS = (0.1, 2.0)
"""How long a commit, and a batch of signatures, is away from the loop."""


class Killed(StorageError):
    """The process that asks has ended already."""


class World:
    """What all machines of a simulation share."""

    def __init__(self, seed: int, chance: Chance, future: Future, wires: Wires) -> None:
        self.seed, self.chance, self.future, self.wires = seed, chance, future, wires
        self.signatures: dict[bytes, bool] = {}
        """Of transactions: each is checked once in a simulation, and not once on every node."""


class SimulatedMachine(Machine):
    """Of one run of a process (pipe.Side). `step` is called before each act on the world, `failed` when the
    disk refuses a write to the journal; a `liar` speaks for it."""

    def __init__(
        self,
        world: World,
        number: int,
        run: int,
        disk: MachineDisk,
        address: Address,
        clock_off_ms: Callable[[], int],
        step: Callable[[], None],
        failed: Callable[[], None],
        liar: Liar | None = None,
    ) -> None:
        self.number = number
        self.dead = False
        self.step = step
        self._world = world
        self._disk = disk
        self._address = address
        self._clock_off_ms = clock_off_ms
        self._failed = failed
        self._liar = liar
        self._random = Random(sha256(b"machine %d %d %d" % (world.seed, number, run)).digest())
        self._refused_before = disk.refused
        self._writer: SimulatedWriter | None = None
        self._transport: MemoryTransport | None = None

    @property
    def refused(self) -> bool:
        """Whether the disk failed this run in anything."""
        return self._disk.refused > self._refused_before

    def now_ms(self) -> int:
        return START_MS + int(trio.current_time() * 1_000) + self._clock_off_ms()

    def stopwatch(self) -> float:
        """Nobody's checks cost anything: what cores do is no part of a seed."""
        return 0.0

    def entropy(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def journal(self, directory: Path) -> Journal:
        def writer(directory: Path, reserve_bytes: int, step_bytes: int) -> SimulatedWriter:
            self._writer = SimulatedWriter(self._disk, self, self._world.chance, directory, self._failed)
            return self._writer

        with self._disk.writing(journal=True):
            return Journal.open(
                directory, SEGMENT_BYTES, writer=writer, reserve_bytes=0, entropy=self.entropy
            )

    def state(self, directory: Path, genesis: Genesis, read_body: ReadBody) -> State:
        with self._disk.writing():
            return State.open(
                directory,
                genesis,
                read_body,
                map_bytes=MAP_BYTES,
                sync=False,
                clock=self.clock,
                offload=self.offload,
            )

    def verifier(self, network: bytes, workers: int) -> OwnedVerifier:
        return SharedVerifier(network, self._world.signatures, partial(self.wait, "check", CHECK_MS))

    def transport(self, seed: bytes, links_max: int, stall_s: float) -> Transport:
        assert self._address.node_key is not None, "a daemon's address names it"
        alters = self._liar.to if self._liar is not None else None
        self._transport = MemoryTransport(
            self._world.wires, self, self._address.node_key, self._address, alters
        )
        return self._transport

    async def offload(self, work: Callable[[], T]) -> T:
        """Run it at once, after the while that a thread would take. Raise Killed."""
        await self.wait("commit", COMMIT_MS)
        self.step()
        if self.dead:
            raise Killed("the process was killed")
        with self._disk.writing():
            return work()

    async def wait(self, what: str, low_high_ms: tuple[float, float]) -> None:
        """Let the while pass that something takes besides the loop. A slow disk slows the journal alone: a
        commit that overtakes what it rests on is what must not happen."""
        await self._world.future.wait(self._world.chance.between((what, self.number), *low_high_ms))

    def kill(self, *, power: bool) -> None:
        """End the run here and now: what it does from here on reaches neither disk nor network. With `power`
        the machine falls silent, otherwise it closes the process' streams."""
        self.dead = True
        if self._writer is not None:
            self._writer.kill()
        if self._transport is not None:
            self._transport.darken() if power else self._transport.end()


class SharedVerifier:
    """Checks on the loop what no node of the simulation has checked yet."""

    def __init__(self, network: bytes, known: dict[bytes, bool], wait: Callable[[], Awaitable[None]]) -> None:
        self._inline = InlineVerifier(network)
        self._known = known
        self._wait = wait
        self._checked = 0

    async def run(self, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """There is nothing to own."""
        task_status.started()

    async def check(self, raws: Sequence[bytes]) -> bytes:
        await self._wait()
        self._checked += len(raws)
        return bytes(self._holds(raw) for raw in raws)

    def _holds(self, raw: bytes) -> bool:
        held = self._known.get(raw)
        if held is None:
            held = self._known[raw] = bool(self._inline.check_now((raw,))[0])
        return held

    def stats(self) -> VerifierStats:
        return VerifierStats(
            workers=0, queued=0, checked=0, inline=self._checked, restarts=0, refused_after_crashes=0
        )
