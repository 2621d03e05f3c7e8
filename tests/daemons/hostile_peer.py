"""A peer that holds a good node key, links to a live daemon and then says what it likes, byte for byte."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

from consensus.signing import SignedKind, signed_prefix
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.network.addresses import parse_address
from prsm_node.network.host import Host
from prsm_node.wire.frames import Frame, FrameJudge, FrameSealer, encode_message
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import (
    Greeting,
    Heartbeat,
    Outcome,
    Request,
    Response,
    SessionProof,
    session_signed_bytes,
)
from prsm_node.wire.stream import FrameSplitter, on_stream

WRITE_BYTES = 65_000
KEPT_MAX = 4_096


class HostilePeer:
    """One link to one daemon, under a node key of its own.

    Args:
        network: the genesis hash.
        validator: a key to prove in the greeting; None claims none.
        key: the node key; None makes one.
    """

    def __init__(
        self, network: bytes, validator: SigningKey | None = None, key: SigningKey | None = None
    ) -> None:
        self.network = network
        self.key = key or SigningKey.generate()
        self.sealer = FrameSealer(network, self.key)
        self.came: list[Frame] = []
        self.gone = trio.Event()
        self.reads = True
        self.height = 0
        self.answers: bytes | None = None
        """What a request of the daemon is answered with, whatever it asked; None leaves it without answer."""
        self._validator = validator
        self._judge = FrameJudge(network)
        self._host = Host(self.key.seed(), 8, 3.0)
        self._sequence = 0
        self._stream: Any = None
        self._writing = trio.Lock()

    @asynccontextmanager
    async def linked(self, address: str, greets: bool = True) -> AsyncIterator["HostilePeer"]:
        """Link up; the link ends with the block."""
        async with self._host.run([parse_address("/ip4/127.0.0.1/tcp/0")]), trio.open_nursery() as nursery:
            await self.dial(nursery, address, greets)
            yield self
            nursery.cancel_scope.cancel()

    async def dial(self, nursery: trio.Nursery, address: str, greets: bool = True) -> None:
        self._sequence, self.gone = 0, trio.Event()
        self.came.clear()
        with trio.fail_after(10):
            self._stream = await self._host.dial(parse_address(address))
        nursery.start_soon(self._read, self._stream)
        if greets:
            await self._greet()
            nursery.start_soon(self._live)

    async def _greet(self) -> None:
        claimed = None if self._validator is None else self._validator.public
        greeting = Greeting(self.network, "hostile", (), self.height, bytes(32), self.key.public[:8], claimed)
        await self.say(Kind.HELLO, greeting)
        hello = (await self.first(Kind.HELLO)).messages[0]
        if self._validator is not None:
            session = b"hostile session"
            content = session_signed_bytes(self.network, self.key.public, session, hello.challenge)
            proof = SessionProof(self._validator.public, session, self._validator.sign(content))
            await self.say(Kind.HELLO, proof)
        await self.first(Kind.HEARTBEAT)

    async def first(self, kind: Kind, within_s: float = 5.0) -> Frame:
        """Return the first frame of a kind that came."""
        with trio.fail_after(within_s):
            while True:
                for frame in self.came:
                    if frame.kind is kind:
                        return frame
                await trio.sleep(0.01)

    def answered(self) -> set[int]:
        """Return the ids of our requests that were answered."""
        return {part.id for frame in self.came if frame.kind is Kind.RESPONSE for part in frame.messages}

    async def _read(self, stream: Any) -> None:
        splitter = FrameSplitter()
        with suppress(Exception):
            while True:
                while not self.reads:  # noqa: ASYNC110
                    await trio.sleep(0.05)
                data = await stream.read(256 * 1024)
                if not data:
                    break
                for raw in splitter.feed(data):
                    await self._take(self._judge.judge(raw))
        self.gone.set()

    async def _take(self, frame: Frame) -> None:
        if len(self.came) < KEPT_MAX:
            self.came.append(frame)
        if frame.kind is Kind.REQUEST and self.answers is not None:
            for request in frame.messages:
                await self.say_raw(Kind.RESPONSE, response(request, self.answers))

    async def _live(self) -> None:
        """Beat and echo as a correct peer does, so that only the hostile act ends the link."""
        number = 0
        with suppress(Exception):
            while True:
                number += 1
                heard = [f.messages[-1].number for f in self.came if f.kind is Kind.HEARTBEAT]
                await self.say(Kind.HEARTBEAT, Heartbeat(self.height, number, heard[-1] if heard else 0, 0))
                await trio.sleep(1.0)

    def seal(self, kind: Kind, *messages: Any) -> bytes:
        return self.seal_raw(kind, [encode_message(message) for message in messages])

    def seal_raw(self, kind: Kind, messages: Sequence[bytes]) -> bytes:
        """A frame with a good signature around these messages, whatever they are."""
        self._sequence += 1
        return self.sealer.seal(kind, self._sequence, messages)

    def sign(self, content: bytes) -> bytes:
        """Whatever it is, with a good frame signature behind it."""
        return content + b"\xc4\x40" + self.key.sign(signed_prefix(self.network, SignedKind.FRAME) + content)

    async def say(self, kind: Kind, *messages: Any) -> None:
        await self.write(on_stream(self.seal(kind, *messages)))

    async def say_raw(self, kind: Kind, *messages: bytes) -> None:
        await self.write(on_stream(self.seal_raw(kind, messages)))

    async def write(self, data: bytes) -> None:
        """Write bytes; a link that the daemon ended takes none, which is `gone` and no error."""
        try:
            with trio.fail_after(5):
                await self._writing.acquire()
            with trio.fail_after(5):
                for start in range(0, len(data), WRITE_BYTES):
                    await self._stream.write(data[start : start + WRITE_BYTES])
        except Exception:
            self.gone.set()
        finally:
            if self._writing.statistics().owner is trio.lowlevel.current_task():
                self._writing.release()


def response(request: Request, body: bytes) -> bytes:
    """Return an answer of one part."""
    return encode_message(Response(request.id, Outcome.FOUND, 0, 1, body))
