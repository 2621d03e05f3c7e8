"""One link: a stream to one node, with one task that writes, one that reads and one that listens for life.

A link is what the rest of the daemon sees of a peer. Its number is new for each connection and never 0, so it
serves as consensus.inputs.Link. It is up once both ends have greeted and, where one claims a validator key,
proved it (links.py). Only the writer writes; closing a link never waits for it, the connection goes instead.
"""

import random
from collections.abc import Callable
from typing import Protocol

import msgspec
import trio

from prsm_node.network.addresses import host_of, peer_id_of
from prsm_node.network.config import NetworkConfig
from prsm_node.network.outbox import Outbox
from prsm_node.network.rates import Rates
from prsm_node.network.transport import Stream
from prsm_node.wire.frames import Frame, FrameJudge, FrameRejected, FrameSealer, encode_message
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import Greeting, Heartbeat
from prsm_node.wire.stream import LENGTH_BYTES, FrameSplitter

WRITE_BYTES_MAX = 65_000  # a full Yamux frame is split into two Noise messages
READ_BYTES_MAX = 256 * 1024
# Frames judged before other tasks get a turn: 16 x 110 us is 2 ms.
FRAMES_AT_ONCE = 16
# A lone transfer is four such messages on a link; five of them in 250 ms are load.
BUSY_WINDOW_S = 0.25
BUSY_MESSAGES = 20
GATHER_S = 0.04
# Numbers of our heartbeats whose echo is awaited; the link ends long before there are more.
HEARTBEATS_HELD = 64


class LinkOwner(Protocol):
    """What a link needs of links.py."""

    config: NetworkConfig
    sealer: FrameSealer
    judge: FrameJudge
    clock: Callable[[], float]
    stopwatch: Callable[[], float]
    random: random.Random
    height: Callable[[], int]

    def received(self, link: "Link", frame: Frame) -> None: ...
    def rejected(self, link: "Link", refusal: FrameRejected) -> None: ...
    def fault(self, link: "Link", reason: str) -> None: ...
    def spent(self, link: "Link", seconds: float) -> float: ...


class LinkView(msgspec.Struct, frozen=True):
    """A link as it stands, for people and metrics."""

    number: int
    node_key: bytes
    node_id: str
    address: str
    """Where the stream comes from or goes to; listening addresses are in `listen`."""
    listen: tuple[str, ...]
    outbound: bool
    version: str
    height: int
    round_trip_ms: float | None
    validator: bytes | None
    score: float
    since: float
    """By the clock that Links was given, seconds."""
    bytes_in: int
    bytes_out: int
    frames_in: int
    frames_out: int
    queued: int
    queued_bytes: int
    lost: int


class Link:
    """A stream to a node, and what is known of that node through it."""

    def __init__(
        self,
        owner: LinkOwner,
        number: int,
        node_key: bytes,
        stream: Stream,
        outbound: bool,
        challenge: bytes,
    ) -> None:
        assert number > 0, f"link number {number}: 0 is this node itself"
        self.number = number
        self.node_key = node_key
        self.outbound = outbound
        """Whether this node dialled."""
        self.challenge = challenge
        self.host = host_of(stream.address)
        """The IP address of the other end, "" where that is not known."""
        self.greeting: Greeting | None = None
        self.validator: bytes | None = None
        """The validator key that the peer proved to hold."""
        self.session: bytes | None = None
        """The session in which it did."""
        self.up = trio.Event()
        self.height = 0
        self.round_trip_s: float | None = None
        self.since = owner.clock()
        self.outbox = Outbox()
        self.bytes_in = self.bytes_out = self.frames_in = self.frames_out = 0
        self.ended: str | None = None
        """Why the link was closed; None while it stands."""
        self._owner = owner
        self._stream = stream
        self._scope = trio.CancelScope()
        self._rates = Rates(self.since)
        self._sequence_in = self._sequence_out = 0
        self._heard = True
        self._heard_at = self.since
        self._echoed = True
        self._heartbeat = 0
        self._sent_at: dict[int, float] = {}
        self._last_heartbeat = 0
        self._last_heartbeat_at = 0.0
        self._window_began = self._wrote_at = 0.0
        self._spread_before = 0
        self._busy = False

    @property
    def node_id(self) -> str:
        return peer_id_of(self.node_key)

    @property
    def address(self) -> str:
        """Where the peer is, /ip4/.../tcp/...; empty once the connection is gone."""
        return self._stream.address

    async def drop(self) -> None:
        """Close the connection. Never raises, never hangs."""
        await self._stream.drop()

    @property
    def hangs(self) -> bool:
        """Whether nothing was heard for longer than a peer that can be reached is silent."""
        config = self._owner.config
        return self._owner.clock() - self._heard_at > config.hangs_beats * config.heartbeat_s

    def send(self, kind: Kind, message: bytes) -> bool:
        """Queue an encoded message; False where the link is closed. Never waits."""
        if self.ended is not None:
            return False
        self.outbox.put(kind, message)
        return True

    def close(self, reason: str) -> None:
        """End the link. The first reason stands; messages that wait are lost."""
        if self.ended is None:
            self.ended = reason
            self.outbox.wake()
            self._scope.cancel()

    def echo(self, heartbeat: Heartbeat) -> None:
        """Take a heartbeat: the peer's height, and the round trip of the one of ours that it names."""
        now = self._owner.clock()
        self.height = heartbeat.height
        self._last_heartbeat, self._last_heartbeat_at = heartbeat.number, now
        sent_at = self._sent_at.pop(heartbeat.echo, None)
        if sent_at is not None:
            self._echoed = True
            self.round_trip_s = max(0.0, now - sent_at - heartbeat.held_us / 1e6)
            for number in [number for number in self._sent_at if number < heartbeat.echo]:
                del self._sent_at[number]

    def view(self, score: float) -> LinkView:
        greeting = self.greeting
        return LinkView(
            number=self.number,
            node_key=self.node_key,
            node_id=self.node_id,
            address=self.address,
            listen=() if greeting is None else greeting.listen,
            outbound=self.outbound,
            version="" if greeting is None else greeting.version,
            height=self.height,
            round_trip_ms=None if self.round_trip_s is None else self.round_trip_s * 1e3,
            validator=self.validator,
            score=score,
            since=self.since,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            frames_in=self.frames_in,
            frames_out=self.frames_out,
            queued=self.outbox.depth,
            queued_bytes=self.outbox.depth_bytes,
            lost=self.outbox.lost,
        )

    async def run(self) -> None:
        """Read, write and listen for life until the link ends; `ended` says why. Never raises for a peer.

        Cancelling leaves the connection as it is: the caller drops it.
        """
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._read)
                nursery.start_soon(self._live)
        if self.ended is None:
            self.ended = "shutdown"

    async def _read(self) -> None:
        splitter = FrameSplitter()
        owner, judge = self._owner, self._owner.judge
        while self.ended is None:
            try:
                data = await self._stream.read(READ_BYTES_MAX)
            except Exception as error:  # a transport's many ways to say that a stream is over
                self.close(f"gone: {type(error).__name__}")
                return
            if not data:
                self.close("gone")
                return
            self.bytes_in += len(data)
            self._heard = True
            self._heard_at = self._owner.clock()
            try:
                for count, raw in enumerate(splitter.feed(data), start=1):
                    self.frames_in += 1
                    began = owner.stopwatch()
                    try:
                        frame = judge.judge(raw, self._sequence_in, self.node_key, self._admit)
                    except FrameRejected as refusal:
                        owner.rejected(self, refusal)
                    else:
                        self._sequence_in = frame.sequence
                        owner.received(self, frame)
                    pause_s = owner.spent(self, owner.stopwatch() - began)
                    if self.ended is not None:
                        return
                    if pause_s:
                        # What is not read fills the stream's window, and its sender waits.
                        await trio.sleep(pause_s)
                        self._heard = True  # what came still waits
                    elif count % FRAMES_AT_ONCE == 0:
                        await trio.lowlevel.checkpoint()
            except FrameRejected as refusal:
                owner.rejected(self, refusal)
                self.close(f"unreadable: {refusal.reason}")

    def _admit(self, kind: Kind, messages: int, size: int) -> bool:
        return self._rates.admit(kind, messages, size, self._owner.clock())

    async def _write(self) -> None:
        outbox, sealer = self.outbox, self._owner.sealer
        while self.ended is None:
            await outbox.wait()
            await self._pace()
            pieces: list[bytes] = []
            size = 0
            while size < WRITE_BYTES_MAX:
                taken = outbox.take()
                if taken is None:
                    break
                self._sequence_out += 1
                frame = sealer.seal(taken[0], self._sequence_out, taken[1])
                pieces.append(len(frame).to_bytes(LENGTH_BYTES, "big"))
                pieces.append(frame)
                size += LENGTH_BYTES + len(frame)
                self.frames_out += 1
            data = b"".join(pieces)
            for start in range(0, size, WRITE_BYTES_MAX):
                piece = data if size <= WRITE_BYTES_MAX else data[start : start + WRITE_BYTES_MAX]
                try:
                    with trio.fail_after(self._owner.config.stall_s):
                        await self._stream.write(piece)
                except trio.TooSlowError:
                    self._owner.fault(self, "stalled")
                    self.close("stalled")
                    return
                except Exception as error:
                    self.close(f"gone: {type(error).__name__}")
                    return
                self.bytes_out += len(piece)

    async def _pace(self) -> None:
        """On a busy link, let what is not urgent gather: a write costs both ends 0.5 ms, however long."""
        now = trio.current_time()
        if now - self._window_began >= BUSY_WINDOW_S:
            self._busy = self.outbox.spread - self._spread_before >= BUSY_MESSAGES
            self._window_began, self._spread_before = now, self.outbox.spread
        if self._busy:
            with trio.move_on_at(self._wrote_at + GATHER_S):
                await self.outbox.wait_urgent()
        self._wrote_at = trio.current_time()

    async def _live(self) -> None:
        """Send heartbeats and count beats without a sound. Beats are counted and not seconds: where our own
        loop was held up, what peers sent meanwhile still waits to be read."""
        config = self._owner.config
        with trio.move_on_after(config.greeting_s):
            await self.up.wait()
        if not self.up.is_set():
            self._owner.fault(self, "late_greeting")
            self.close("not_greeted")
            return
        silent = unechoed = 0
        while self.ended is None:
            self._beat()
            # A tenth of jitter, so that the beats of many links do not fall together.
            await trio.sleep(config.heartbeat_s * self._owner.random.uniform(0.9, 1.0))
            silent = 0 if self._heard else silent + 1
            # The first echo comes with the peer's next beat, so one beat more is allowed.
            unechoed = -1 if self._echoed else unechoed + 1
            self._heard = self._echoed = False
            if max(silent, unechoed) >= config.missed_heartbeats_max:
                reason = "silent" if silent >= unechoed else "deaf"
                self._owner.fault(self, "silent")
                self.close(reason)

    def _beat(self) -> None:
        now = self._owner.clock()
        self._heartbeat += 1
        held_us = int((now - self._last_heartbeat_at) * 1e6) if self._last_heartbeat else 0
        message = Heartbeat(self._owner.height(), self._heartbeat, self._last_heartbeat, max(0, held_us))
        self._sent_at[self._heartbeat] = now
        if len(self._sent_at) > HEARTBEATS_HELD:
            del self._sent_at[next(iter(self._sent_at))]
        self.send(Kind.HEARTBEAT, encode_message(message))
