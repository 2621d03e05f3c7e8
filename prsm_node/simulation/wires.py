"""The network between simulated machines: who listens where, what is cut, and the streams of pipe.py."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from consensus.simulation.chance import Chance
from consensus.simulation.scenario import Links
from prsm_node.errors import OperatorError
from prsm_node.network.addresses import Address
from prsm_node.network.transport import Stream
from prsm_node.simulation.future import Future
from prsm_node.simulation.pipe import AGAIN_MS, Pipe, Side, Watch


class Wires:
    """All of it (pipe.Path)."""

    def __init__(
        self, chance: Chance, links: Links, future: Future, watch: Callable[[int, int], Watch]
    ) -> None:
        """`watch` is asked, by (from, to), whom to tell of what leaves on a stream between them."""
        self.links = links
        self.future = future
        self.watch = watch
        self.delivered = 0
        self.listening: dict[tuple[str, int], MemoryTransport] = {}
        self.dark: dict[int, None] = {}
        """The machines without power."""
        self._chance = chance
        self._cut: dict[tuple[int, int], None] = {}

    def cut(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Nothing passes from the first to the second of each pair, until `heal`."""
        self._cut.update(dict.fromkeys(pairs))

    def heal(self) -> None:
        self._cut.clear()

    def passes(self, source: int, to: int) -> bool:
        return (source, to) not in self._cut

    def has_power(self, number: int) -> bool:
        return number not in self.dark

    def delay_ms(self, source: int, to: int) -> float:
        taken = self._chance.delays_ms(("wire", source, to), self.links, cut=False)
        return taken[0] if taken else AGAIN_MS + self.links.usual_ms

    async def travel(self, source: int, to: int) -> None:
        """Return when a first packet has arrived, sent again as often as it takes."""
        await self.future.wait(self.delay_ms(source, to))
        again_ms = AGAIN_MS
        while not self.passes(source, to) or to in self.dark:
            await self.future.wait(again_ms)
            again_ms *= 2


class MemoryStream:
    """One end of a stream (network.transport.Stream)."""

    def __init__(self, own: "MemoryTransport", peer: "MemoryTransport", sends: Pipe, takes: Pipe) -> None:
        self.node_key = peer.node_key
        self.read = takes.read
        self._alter = own.alters(peer.number) if own.alters is not None else None
        self._own, self._peer, self._sends, self._takes = own, peer, sends, takes
        own.streams[self] = None

    @property
    def address(self) -> str:
        return self._peer.address.transport if self in self._own.streams else ""

    async def write(self, data: bytes) -> None:
        """Return when the machine has taken the bytes, or what leaves instead of them. Raise Broken."""
        if self._alter is not None:
            data = self._alter(data)
        if data:
            await self._sends.write(data)

    async def drop(self) -> None:
        await trio.lowlevel.checkpoint()
        self.close()

    def close(self) -> None:
        if self._own.streams.pop(self, self) is None:
            self._sends.close()
            self._takes.leave()

    def darken(self) -> None:
        """This end's machine has lost its power."""
        if self._own.streams.pop(self, self) is None:
            self._sends.darken(writer=True)
            self._takes.darken(writer=False)


class MemoryTransport:
    """One process' hold on the network (network.transport.Transport). `alters` is asked, for the number of a
    process, what leaves on a stream to it instead of what its daemon writes."""

    def __init__(
        self,
        wires: Wires,
        side: Side,
        node_key: bytes,
        address: Address,
        alters: Callable[[int], Callable[[bytes], bytes]] | None = None,
    ) -> None:
        self.faults: Counter[str] = Counter()
        self.blame: Callable[[bytes, str], None] = lambda key, reason: None
        self.refuses: Callable[[bytes], bool] = lambda key: False
        self.costs: Callable[[bytes, float], float] = lambda key, seconds: 0.0
        self.streams: dict[MemoryStream, None] = {}
        self.node_key = node_key
        self.address = address
        self.number = side.number
        self.alters = alters
        self._wires, self._side = wires, side
        self._inbound, self._accepted = trio.open_memory_channel[MemoryStream](1_024)
        self._handler: Callable[[Stream], Awaitable[None]] | None = None

    @asynccontextmanager
    async def run(self, listen: Sequence[Address]) -> AsyncIterator[list[Address]]:
        place = (self.address.host, self.address.port)
        assert [address.transport for address in listen] == [self.address.transport], "it listens elsewhere"
        if place in self._wires.listening:
            raise OperatorError(f"cannot listen on {self.address.transport}: it is taken")
        self._wires.listening[place] = self
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._accept, nursery)
                yield [self.address]
                nursery.cancel_scope.cancel()
        finally:
            self.end()

    def handle(self, handler: Callable[[Stream], Awaitable[None]]) -> None:
        self._handler = handler

    async def dial(self, address: Address) -> Stream:
        wires, here = self._wires, self._side.number
        there = _number_at(address)
        await wires.travel(here, there)
        peer = wires.listening.get((address.host, address.port))
        stream = self._reach(peer, address) if peer is not None and not self._side.dead else None
        try:
            await wires.travel(there, here)
        except trio.Cancelled:
            if stream is not None:
                stream.close()
            raise
        if stream is None:
            raise ConnectionRefusedError(f"nobody listens at {address.transport}")
        return stream

    def _reach(self, peer: "MemoryTransport", address: Address) -> "MemoryStream | None":
        """Open a stream: the peer has it at once, this end when the answer is back."""
        if peer.node_key != address.node_key or peer.refuses(self.node_key):
            return None
        there = Pipe(self._wires, self._side, peer._side)
        here = Pipe(self._wires, peer._side, self._side)
        there.back, here.back = here, there
        try:
            peer._inbound.send_nowait(MemoryStream(peer, self, here, there))
        except trio.WouldBlock:
            return None
        return MemoryStream(self, peer, there, here)

    async def _accept(self, nursery: trio.Nursery) -> None:
        async for stream in self._accepted:
            nursery.start_soon(self._serve, stream)

    async def _serve(self, stream: MemoryStream) -> None:
        assert self._handler is not None, "streams are dialled once there is a handler"
        try:
            await self._handler(stream)
        except Exception as error:
            self.faults[f"stream: {type(error).__name__}"] += 1
            stream.close()

    def end(self) -> None:
        """The process ends: its machine closes what it had open."""
        self._unlisten()
        for stream in list(self.streams):
            stream.close()

    def darken(self) -> None:
        """The machine loses its power."""
        self._unlisten()
        self._wires.dark[self._side.number] = None
        for stream in list(self.streams):
            stream.darken()

    def _unlisten(self) -> None:
        place = (self.address.host, self.address.port)
        if self._wires.listening.get(place) is self:
            del self._wires.listening[place]


FIRST_PORT = 7_100


def address_of(number: int, node_key: bytes) -> Address:
    """Where the daemon of this number listens."""
    return Address("ip4", "127.0.0.1", FIRST_PORT + number, node_key)


def _number_at(address: Address) -> int:
    return address.port - FIRST_PORT
