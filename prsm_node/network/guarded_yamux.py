"""Yamux as a peer can break it but not wedge it, nor make it hold or do more than it should.

py-libp2p 0.8.1 was read and its traps reproduced; private attributes of its Yamux are used here.

- A cancelled write leaves half a Noise message on the connection, which then is silent for ever: a message,
  once begun, is written whole within a deadline, or the connection is broken.
- Receive buffers grow past their window: a connection that holds more than HELD_BYTES_MAX is broken, and the
  one that holds most when all together hold too much (host.py).
- Nothing bounds how fast streams are opened: they have a rate of their own on each connection.
- Pings, window updates and empty frames cost a peer 12 bytes and us a read and more, with no stream whose
  reading could be held back: all that is read of a connection is charged to its node.
"""

import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import trio
from libp2p.abc import ISecureConn
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.stream_muxer.yamux import yamux

from prsm_node.network.addresses import node_key_of_bytes
from prsm_node.token_bucket import TokenBucket

WRITE_BYTES_MAX = 65_000  # a full Yamux frame is split into two Noise messages
# Receive window of a stream: at 80 ms of round trip 25 MB/s. The library's 16 MiB on each of 16 streams of 64
# connections would let idle peers hold 16 GB.
WINDOW_BYTES_MAX = 2 * 1024 * 1024
# Unread bytes on one connection: our stream's window, 16 others' of 256 KiB, and some slack. A peer that
# holds to its windows never reaches it.
HELD_BYTES_MAX = 8 * 1024 * 1024
# Streams that a peer may open one after the other on a connection: a DHT walk opens a few a second, and each
# costs us 3 ms.
STREAMS_PER_S, STREAMS_BURST = 8.0, 64.0
# One read of the connection, a frame's header or its body, and what follows from it; measured without bodies.
READ_S = 12e-6
# Charged together: 2.4 ms.
READS_AT_ONCE = 200
FRAME_HEADER = struct.Struct(yamux.YAMUX_HEADER_FORMAT)


class YamuxOwner(Protocol):
    """What a connection needs of its host."""

    faults: Counter[str]
    blame: Callable[[bytes, str], None]
    refuses: Callable[[bytes], bool]
    costs: Callable[[bytes, float], float]
    stall_s: float

    def holds_too_much(self, muxed: "GuardedYamux", held: int) -> bool: ...


def take_the_place_of_the_librarys() -> None:
    """Have every Yamux connection make these streams."""
    yamux.MAX_WINDOW_SIZE = WINDOW_BYTES_MAX
    setattr(yamux, "YamuxStream", QuietStream)  # noqa: B010


class HeldTooMuch(trio.TooSlowError):
    """A peer sends more than its windows allow. Yamux closes a connection on any TooSlowError."""


class TooManyStreams(trio.TooSlowError):
    """A peer opens streams faster than it may; the connection ends as with HeldTooMuch."""


class Banned(trio.TooSlowError):
    """The peer is kept out from here on; the connection ends as with HeldTooMuch."""


class ChargedConnection:
    """A secured connection whose reads are charged to its node, which waits where it costs too much."""

    def __init__(self, connection: ISecureConn, node_key: bytes, owner: YamuxOwner) -> None:
        self._connection = connection
        self._node_key = node_key
        self._owner = owner
        self._reads = 0

    async def read(self, n: int | None = None) -> bytes:
        self._reads += 1
        if self._reads >= READS_AT_ONCE:
            pause_s = self._owner.costs(self._node_key, self._reads * READ_S)
            self._reads = 0
            if pause_s and self._owner.refuses(self._node_key):
                raise Banned
            await trio.sleep(pause_s)
        return await self._connection.read(n)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class QuietStream(yamux.YamuxStream):
    """A Yamux stream that costs a frame a message and not two.

    The library gives credit back at every read, so that each small message is answered by a frame; here it is
    given back when half of the window is used. Its locks are not needed where nothing is awaited between.
    """

    def __init__(self, stream_id: int, conn: yamux.Yamux, is_initiator: bool) -> None:
        if not is_initiator and isinstance(conn, GuardedYamux):
            conn.peer_opens()
        super().__init__(stream_id, conn, is_initiator)

    async def write(self, data: bytes) -> None:
        size = len(data)
        if self.send_closed or self.closed or size > min(self.send_window, WRITE_BYTES_MAX):
            await super().write(data)  # waits for credit, cuts into frames, says why it cannot
            return
        self.send_window -= size
        header = FRAME_HEADER.pack(0, yamux.TYPE_DATA, 0, self.stream_id, size)
        await self.conn._write_frame(header + data)

    async def read(self, n: int | None = -1) -> bytes:
        connection, number = self.conn, self.stream_id
        while True:
            buffer = connection.stream_buffers.get(number)
            over = self.recv_closed or self.closed or connection.event_shutting_down.is_set()
            if buffer is None or over:
                return await super().read(n)  # knows the many ways in which a stream ends
            if buffer:
                size = len(buffer) if n is None or n < 0 else min(n, len(buffer))
                data = bytes(memoryview(buffer)[:size])
                del buffer[:size]
                await self._auto_tune_and_send_window_update(bytes_read=size)
                return data
            await connection.stream_events[number].wait()
            if number in connection.stream_events:
                connection.stream_events[number] = trio.Event()

    async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:
        held = len(self.conn.stream_buffers.get(self.stream_id, b""))
        credit = self.target_recv_window - self.recv_window - held
        if credit < self.target_recv_window // 2:
            return
        # Half a window came: let the next be larger, up to the bound.
        growth = min(self.target_recv_window, WINDOW_BYTES_MAX - self.target_recv_window)
        self.target_recv_window += growth
        self.recv_window += credit + growth
        await self.send_window_update(credit + growth)


class GuardedYamux(yamux.Yamux):
    """A Yamux connection that a peer can break but not wedge, and whose end harms nothing else."""

    guard: YamuxOwner
    _opening: TokenBucket

    def guarded_by(self, host: YamuxOwner) -> "GuardedYamux":
        """Return itself, held to its host's bounds."""
        self.guard = host
        self.secured_conn = ChargedConnection(self.secured_conn, self.node_key, host)  # type: ignore[assignment]
        self._opening = TokenBucket(STREAMS_PER_S, STREAMS_BURST, trio.current_time())
        return self

    @property
    def node_key(self) -> bytes:
        return node_key_of_bytes(self.peer_id.to_bytes())

    def peer_opens(self) -> None:
        """The peer opens a stream; raise TooManyStreams where that is one too many."""
        if not self._opening.take(1, trio.current_time()):
            self._fault("stream_flood")
            raise TooManyStreams

    def held_bytes(self) -> int:
        """Unread bytes of all its streams."""
        return sum(map(len, self.stream_buffers.values()))

    def _fault(self, reason: str) -> None:
        self.guard.faults[reason.replace("_", " ")] += 1
        self.guard.blame(self.node_key, reason)

    async def start(self) -> None:
        try:
            await super().start()
        except Exception as error:
            self.guard.faults[f"yamux: {type(error).__name__}"] += 1
            await self.abort()
        finally:
            self.event_started.set()  # whoever waits for the start learns that it is over

    async def _write_frame(self, data: bytes) -> None:
        """Write one Yamux frame whole. Cancelling takes effect before it or after it."""
        async with self._write_lock:
            deadline = trio.current_time() + self.guard.stall_s
            with trio.CancelScope(shield=True, deadline=deadline) as scope:
                await self.secured_conn.write(data)
        if scope.cancelled_caught:
            await self.abort()
            raise ConnectionClosedError("the peer took no bytes", transport="tcp")

    async def _read_data_body(self, length: int) -> bytes:
        held = length + self.held_bytes()
        if held > HELD_BYTES_MAX:
            self._fault("held_too_much")
            raise HeldTooMuch
        if self.guard.holds_too_much(self, held):
            self._fault("held_most")
            raise HeldTooMuch
        return await super()._read_data_body(length)

    async def abort(self) -> None:
        """Close the socket; the reading task then takes the connection down. Never raises."""
        self.event_shutting_down.set()
        try:
            await self.secured_conn.close()
        except Exception as error:
            self.guard.faults[f"close: {type(error).__name__}"] += 1
