"""One direction of a stream in memory: bytes in order or none, as TCP gives them.

What is lost comes late, when it was sent again; a cut holds all bytes back until it heals or an end gives up.
A process that ends, killed or not, has its streams closed by its machine. A machine that loses its power
falls silent, and breaks its old streams once it is back.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio

from prsm_node.simulation.future import Future

WINDOW_BYTES = 256 * 1024
"""Sent and not read: who fills it waits."""
AGAIN_MS, AGAIN_MS_MAX = 200.0, 1_600.0
"""What did not arrive is sent again after the first, doubled each time up to the second."""
ROUNDING_MS = 1e-6
"""What is due so soon is due: a float's last bit would be waited for without any time passing."""


Arrived = Callable[[], None]
Watch = Callable[[bytes], Arrived | None]
"""Told of bytes that leave; what it returns is called if they arrive."""


class Broken(OSError):
    """The stream is over."""


class Side(Protocol):
    """The run of a process at one end."""

    number: int
    dead: bool
    """Killed: nothing it does reaches anybody any more."""

    def step(self) -> None:
        """It is about to act on the world: a kill may fall here."""


class Path(Protocol):
    """What lies between two machines."""

    future: Future
    delivered: int
    """Arrivals of bytes."""

    def passes(self, source: int, to: int) -> bool:
        """Whether bytes get through now."""

    def delay_ms(self, source: int, to: int) -> float: ...

    def watch(self, source: int, to: int) -> "Watch":
        """Return whom to tell of all that leaves a process on a stream."""

    def has_power(self, number: int) -> bool: ...


class Pipe:
    """`source` writes, `to` reads."""

    def __init__(self, path: Path, source: Side, to: Side) -> None:
        self._path, self._source, self._to = path, source, to
        self._watch = path.watch(source.number, to.number)
        self._under_way: deque[tuple[float, bytes, Arrived | None]] = deque()
        self._came = bytearray()
        self._held = 0
        self._news = trio.Event()
        self._room = trio.Event()
        self._again_ms = AGAIN_MS
        self._closed = False
        self._ended = False
        self._gone = False
        self._dark = False
        self._broken = False
        self.back: Pipe
        """The other direction."""

    async def write(self, data: bytes) -> None:
        """Return when the machine has taken the bytes. Raise Broken."""
        await trio.lowlevel.checkpoint()
        while self._held >= WINDOW_BYTES and not self._broken and not self._closed:
            self._room = trio.Event()
            await self._room.wait()
        self._source.step()
        if self._source.dead:
            return
        if self._broken or self._closed:
            raise Broken("the stream is closed")
        arrived = self._watch(data)
        self._held += len(data)
        self._send(bytes(data), arrived)

    async def read(self, n: int) -> bytes:
        """Return what came; b"" at the end. Raise Broken."""
        while not (self._came or self._ended or self._broken or self._gone):
            self._news = trio.Event()
            await self._news.wait()
        await trio.lowlevel.checkpoint()
        if self._broken or self._gone:
            raise Broken("the stream was reset")
        data = bytes(self._came[:n])
        del self._came[:n]
        self._free(len(data))
        return data

    def close(self) -> None:
        """The writer ends: the reader learns it after all that was written."""
        if not self._closed:
            self._closed = True
            self._room.set()
            self._send(b"")

    def leave(self) -> None:
        """The reader ends: what still comes is thrown away."""
        self._gone = True
        self._came.clear()
        self._news.set()

    def darken(self, writer: bool) -> None:
        """The machine of the writer, or of the reader, has lost its power."""
        if writer:
            self._closed = True
            self._under_way.clear()
        else:
            self._dark = True

    def _free(self, size: int) -> None:
        self._held -= size
        self._room.set()

    def _break(self) -> None:
        self._broken = True
        self._under_way.clear()
        self._news.set()
        self._room.set()

    def _send(self, data: bytes, arrived: Arrived | None = None) -> None:
        path = self._path
        delay_ms = path.delay_ms(self._source.number, self._to.number)
        now_ms = path.future.now_ms
        if self._under_way:
            # One arrival at a time is planned, of the oldest.
            self._under_way.append((max(self._under_way[-1][0], now_ms + delay_ms), data, arrived))
            return
        self._under_way.append((now_ms + delay_ms, data, arrived))
        path.future.at(delay_ms, self._arrive)

    def _arrive(self) -> None:
        if self._broken or not self._under_way:
            return
        path = self._path
        lost = not path.passes(self._source.number, self._to.number)
        if lost or (self._dark and not path.has_power(self._to.number)):
            path.future.at(self._again_ms, self._arrive)
            self._again_ms = min(2 * self._again_ms, AGAIN_MS_MAX)
            return
        if self._dark:
            # A machine that knows nothing of the stream says so.
            self._break()
            self.back._break()
            return
        self._again_ms = AGAIN_MS
        now_ms = path.future.now_ms
        while self._under_way and self._under_way[0][0] <= now_ms + ROUNDING_MS:
            _, data, arrived = self._under_way.popleft()
            path.delivered += 1
            self._ended |= not data
            if self._gone:
                self._free(len(data))
                continue
            self._came += data
            if arrived is not None:
                arrived()
        self._news.set()
        if self._under_way:
            path.future.at(self._under_way[0][0] - now_ms, self._arrive)
