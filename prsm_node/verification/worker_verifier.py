"""Checks signatures in worker processes: batches them, bounds what waits, survives a worker's death.

A batch is what queued while the worker was busy, so batching grows with load and a lone transaction waits for
nobody. A worker that dies is started anew and gets again what it had not answered. It answers in order, so
the oldest batch is the suspect: after its second crash it is halved until the culprit stands alone, and is
refused.
"""

import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import trio

from consensus.signing import SignedKind, signed_prefix
from prsm_node.errors import OperatorError
from prsm_node.ledger.transactions import ED25519_HEAD, SIGNATURE_TAIL
from prsm_node.verification import worker
from prsm_node.verification.verifier import InlineVerifier

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # libp2p brings these stubs, which hide trio's own

# us a signature in the worker by batch: 1: 179, 8: 66, 64: 46, 256: 44; in the daemon 64: 9, 128: 6. Larger
# gains little and answers later.
BATCH_SIGNATURES = 128
BATCH_BYTES = 128 << 10
# Two keep the worker busy while an answer travels; eight while the loop executes a block of 1,000.
OUTSTANDING_MAX = 8
# One second of a worker's time. Callers wait beyond it: they are bounded themselves.
QUEUE_MAX = 20_000
# A batch takes 6 ms, four of them 24: ten seconds is a stopped process.
ANSWER_DEADLINE_S = 10.0
START_DEADLINE_S = 10.0
STARTS_MAX = 5
START_PAUSE_S = 0.1  # doubled at each failure
WORKER_SCRIPT = worker.__file__
# A lone check takes 50 us here and 500 us by the worker, mostly waking up. One in 2 ms is 2.5 % of the loop.
INLINE_MAX = 1
# 30 ms of a worker's time wait besides what it has: the loop's own core may help, 8 checks or 0.5 ms a time.
SHARE_FROM = 512
SHARE_AT_ONCE = 8
INLINE_EVERY_S = 0.002

_encode = msgspec.msgpack.Encoder().encode


class VerifierStats(msgspec.Struct, frozen=True):
    workers: int
    queued: int
    checked: int
    """In workers, since the start."""
    inline: int
    restarts: int
    refused_after_crashes: int


class _Call:
    """One `check`: its results as they come in."""

    __slots__ = ("abandoned", "done", "missing", "results")

    def __init__(self, count: int) -> None:
        self.results = bytearray(count)
        self.missing = count
        self.done = trio.Event()
        self.abandoned = False


class _Item(NamedTuple):
    call: _Call
    place: int
    raw: bytes


class _Batch:
    __slots__ = ("crashes", "items")

    def __init__(self, items: list[_Item], crashes: int = 0) -> None:
        self.items = items
        self.crashes = crashes


class WorkerDied(Exception):
    """The process ended, hung, or answered what was not asked."""


def worker_count() -> int:
    """One core is the event loop's."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


class WorkerVerifier:
    """A Verifier by `workers` processes; `run` owns them."""

    def __init__(
        self, network: bytes, workers: int | None = None, *, answer_deadline_s: float = ANSWER_DEADLINE_S
    ) -> None:
        self._prefix = signed_prefix(network, SignedKind.TRANSACTION)
        self._inline = InlineVerifier(network)
        self._workers = [_Worker(self) for _ in range(workers or worker_count())]
        self.answer_deadline_s = answer_deadline_s
        self._queue: deque[_Item] = deque()
        self._again: deque[_Batch] = deque()
        self._room = trio.lowlevel.ParkingLot()
        self._deep = trio.Event()
        self._inline_from_s = 0.0
        self._checked = self._inlined = self.restarts = self._refused = 0

    def stats(self) -> VerifierStats:
        return VerifierStats(
            workers=len(self._workers),
            queued=len(self._queue) + sum(len(batch.items) for batch in self._again),
            checked=self._checked,
            inline=self._inlined,
            restarts=self.restarts,
            refused_after_crashes=self._refused,
        )

    def pids(self) -> list[int]:
        """Return the processes that live now."""
        return [one.process.pid for one in self._workers if one.process is not None]

    async def run(self, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Own the workers. Raise OperatorError if one cannot be started. Cancelling ends the processes."""
        async with trio.open_nursery() as nursery:
            for one in self._workers:
                await nursery.start(one.run)
            nursery.start_soon(self._share)
            task_status.started()

    async def _share(self) -> None:
        """Take from a deep queue while the loop has nothing better to do: a few checks at a time."""
        while True:
            if len(self._queue) < SHARE_FROM:
                self._deep = trio.Event()
                await self._deep.wait()
            items = [self._queue.popleft() for _ in range(min(SHARE_AT_ONCE, len(self._queue)))]
            results = self._inline.check_now([item.raw for item in items])
            self._inlined += len(items)
            self._fill(_Batch(items), results)
            self._room.unpark_all()
            await trio.lowlevel.checkpoint()

    async def check(self, raws: Sequence[bytes]) -> bytes:
        """Return one byte a transaction: 1 good. Waits while the queue is full; cancelling forgets it."""
        if not raws:
            return b""
        if len(raws) <= INLINE_MAX and not self._queue and trio.current_time() >= self._inline_from_s:
            self._inline_from_s = trio.current_time() + INLINE_EVERY_S
            self._inlined += len(raws)
            return await self._inline.check(raws)
        while len(self._queue) >= QUEUE_MAX:
            await self._room.park()
        call = _Call(len(raws))
        self._queue.extend([_Item(call, place, raw) for place, raw in enumerate(raws)])
        self._offer()
        if len(self._queue) >= SHARE_FROM:
            self._deep.set()
        try:
            await call.done.wait()
        except trio.Cancelled:
            call.abandoned = True
            raise
        return bytes(call.results)

    def _offer(self) -> None:
        for one in self._workers:
            if one.wants(len(self._queue) + len(self._again)):
                one.wake.set()

    def take(self, busy: bool) -> _Batch | None:
        """Return what to send next; a busy worker gets only what fills half a batch."""
        if self._again:
            return self._again.popleft()
        if busy and len(self._queue) < BATCH_SIGNATURES // 2:
            return None
        items: list[_Item] = []
        size = 0
        while self._queue and len(items) < BATCH_SIGNATURES and size < BATCH_BYTES:
            item = self._queue.popleft()
            if not item.call.abandoned:
                items.append(item)
                size += len(item.raw)
        if len(self._queue) < QUEUE_MAX:
            self._room.unpark_all()
        return _Batch(items) if items else None

    def answered(self, batch: _Batch, results: bytes) -> None:
        self._checked += len(results)
        self._fill(batch, results)

    def crashed(self, batches: list[_Batch]) -> None:
        """Put back what a dead worker had not answered. The first is the suspect."""
        self.restarts += 1
        if not batches:
            return
        suspect, *others = batches
        suspect.crashes += 1
        back = [suspect]
        if suspect.crashes >= 2 and len(suspect.items) == 1:
            self._refused += 1
            self._fill(suspect, b"\0")
            back = []
        elif suspect.crashes >= 2:
            half = len(suspect.items) // 2
            back = [_Batch(suspect.items[:half], 1), _Batch(suspect.items[half:], 1)]
        self._again.extendleft(reversed(back + others))

    def _fill(self, batch: _Batch, results: bytes) -> None:
        for item, good in zip(batch.items, results, strict=True):
            call = item.call
            call.results[item.place] = good
            call.missing -= 1
            if not call.missing:
                call.done.set()

    def spawn(self) -> tuple["subprocess.Popen[bytes]", trio.SocketStream]:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    WORKER_SCRIPT,
                    self._prefix.hex(),
                    ED25519_HEAD.hex(),
                    str(SIGNATURE_TAIL),
                ],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                process_group=0,  # a terminal's interrupt is the daemon's to handle
            )
        ours.setblocking(False)
        return process, trio.SocketStream(trio.socket.from_stdlib_socket(ours))


class _Worker:
    """One process at a time, and what it was asked."""

    def __init__(self, pool: WorkerVerifier) -> None:
        self._pool = pool
        self.process: subprocess.Popen[bytes] | None = None
        self.wake = trio.Event()
        self._asked: dict[int, _Batch] = {}
        self._number = 0

    def wants(self, queued: int) -> bool:
        asked = len(self._asked)
        return asked == 0 or (asked < OUTSTANDING_MAX and queued >= BATCH_SIGNATURES // 2)

    async def run(self, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        failed_starts = 0
        started = False
        while True:
            self.process, stream = self._pool.spawn()
            try:
                ready = False
                with trio.move_on_after(START_DEADLINE_S):
                    ready = await self._ready(stream)
                if not ready:
                    failed_starts += 1
                    if failed_starts == STARTS_MAX:
                        raise OperatorError(
                            f"the signature worker does not start under {sys.executable}; install anew"
                        )
                    await trio.sleep(START_PAUSE_S * 2**failed_starts)
                    continue
                failed_starts = 0
                if not started:
                    started = True
                    task_status.started()
                await self._serve(stream)
            finally:
                self._end(stream)
            self._pool.crashed(list(self._asked.values()))
            self._asked.clear()

    @staticmethod
    async def _ready(stream: trio.SocketStream) -> bool:
        try:
            return await stream.receive_some(1) == worker.READY
        except trio.BrokenResourceError:
            return False

    def _end(self, stream: trio.SocketStream) -> None:
        """Leave no process behind. It holds nothing that a kill could harm; the wait is milliseconds."""
        stream.socket.close()
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Return when the process is dead or as good as dead."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, stream, nursery.cancel_scope)
            with suppress(trio.BrokenResourceError, WorkerDied):
                await self._receive(stream)
            nursery.cancel_scope.cancel()

    async def _send(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        while True:
            while len(self._asked) < OUTSTANDING_MAX:
                batch = self._pool.take(busy=bool(self._asked))
                if batch is None:
                    break
                self._number = (self._number + 1) & 0xFFFFFFFF
                self._asked[self._number] = batch
                body = _encode([item.raw for item in batch.items])
                try:
                    await stream.send_all(worker.FRAME.pack(len(body), self._number) + body)
                except trio.BrokenResourceError:
                    scope.cancel()
                    return
            self.wake = trio.Event()
            await self.wake.wait()

    async def _receive(self, stream: trio.SocketStream) -> None:
        """Raise WorkerDied when the process ends, is late, or answers what was not asked."""
        buffered = b""
        while True:
            data = b""
            with trio.move_on_after(self._pool.answer_deadline_s) as deadline:
                data = await stream.receive_some(1 << 16)
            if deadline.cancelled_caught and not self._asked:
                continue
            if not data:
                raise WorkerDied
            buffered += data
            while len(buffered) >= worker.FRAME.size:
                count, number = worker.FRAME.unpack_from(buffered)
                end = worker.FRAME.size + count
                batch = self._asked.get(number)
                if batch is None or count != len(batch.items):
                    raise WorkerDied
                if len(buffered) < end:
                    break
                del self._asked[number]
                self._pool.answered(batch, buffered[worker.FRAME.size : end])
                buffered = buffered[end:]
            self.wake.set()
