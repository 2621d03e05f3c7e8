"""A TCP proxy between each pair of nodes, where namespaces can't be had: a door for each who dials whom.

A process of its own (`python -m prsm_node.chaos.proxy PORT PORT ...`, the ports of the nodes in their order).
Node a reaches node b at 127.1.a.b, on b's own port, and b sees a call from 127.1.b.a: so what either learns
of the other's address leads through the proxy again. A cut holds bytes, new connections and ends of
connections back until it is over. TCP knows no loss of bytes: a lost packet costs the time until it is sent
again, and what follows waits behind it.
"""

import sys
import time
from functools import partial
from random import Random
from typing import Final

import trio

from prsm_node.chaos.orders import Orders
from prsm_node.chaos.shaping import Condition, Conditions, Line

READ_BYTES: Final = 65_536
PACKET_BYTES: Final = 1_460
RESENT_S: Final = 0.2
"""Linux' least time until a lost packet is sent again; doubled for each time that it is lost once more."""
RESENDS_MAX: Final = 6
WAITING_CHUNKS: Final = 64
BACKLOG: Final = 128


def door(dialler: int, dialled: int) -> str:
    """Return the address at which node `dialler` reaches node `dialled`."""
    return f"127.1.{dialler}.{dialled}"


class Proxy:
    """Carries connections between nodes until its orders end."""

    def __init__(self, ports: list[int], random: Random) -> None:
        self._ports = ports
        self._random = random
        places = range(len(ports))
        self._lines = {(a, b): Line() for a in places for b in places if a != b}
        self._changed = trio.Event()

    def order(self, conditions: Conditions) -> None:
        """From now on the links are like this."""
        differing = {(a, b): condition for a, b, condition in conditions.pairs}
        for pair, line in self._lines.items():
            line.condition = differing.get(pair, conditions.default)
        self._changed.set()
        self._changed = trio.Event()

    async def run(self, orders: Orders) -> None:
        """Carry until the orders end."""
        async with trio.open_nursery() as nursery:
            for dialler, dialled in self._lines:
                listener = trio.socket.socket()
                listener.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
                await listener.bind((door(dialler, dialled), self._ports[dialled]))
                listener.listen(BACKLOG)
                nursery.start_soon(self._accept, listener, dialler, dialled, nursery)
            while not orders.over:
                await trio.lowlevel.wait_readable(orders.descriptor)
                for conditions in orders.read():
                    self.order(conditions)
                    orders.done()
            nursery.cancel_scope.cancel()

    async def _accept(
        self, listener: trio.socket.SocketType, dialler: int, dialled: int, nursery: trio.Nursery
    ) -> None:
        with listener:
            while True:
                connection, _ = await listener.accept()
                nursery.start_soon(self._connect, connection, dialler, dialled)

    async def _connect(self, near: trio.socket.SocketType, dialler: int, dialled: int) -> None:
        """Call the node behind the door, once both directions are open, and carry both ways."""
        there, back = self._lines[dialler, dialled], self._lines[dialled, dialler]
        with near, trio.socket.socket() as far:
            while there.condition.cut or back.condition.cut:
                await self._changed.wait()
            for end in (near, far):
                end.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
            try:
                await far.bind((door(dialled, dialler), 0))
                await far.connect(("127.0.0.1", self._ports[dialled]))
            except OSError:
                return
            async with trio.open_nursery() as nursery:
                for source, sink, line in ((near, far, there), (far, near, back)):
                    send, receive = trio.open_memory_channel[tuple[float, bytes]](WAITING_CHUNKS)
                    nursery.start_soon(self._take, source, line, send)
                    nursery.start_soon(self._give, sink, line, receive, nursery.cancel_scope)

    async def _take(
        self,
        source: trio.socket.SocketType,
        line: Line,
        channel: trio.MemorySendChannel[tuple[float, bytes]],
    ) -> None:
        async with channel:
            while True:
                try:
                    data = await source.recv(READ_BYTES)
                except OSError:
                    data = b""
                while line.condition.cut:
                    await self._changed.wait()
                now = time.monotonic()
                at = line.delayed(len(data), now, self._random)
                await channel.send((at + self._lost_s(line.condition, len(data)), data))
                if not data:
                    return

    async def _give(
        self,
        sink: trio.socket.SocketType,
        line: Line,
        channel: trio.MemoryReceiveChannel[tuple[float, bytes]],
        whole: trio.CancelScope,
    ) -> None:
        async with channel:
            async for at, data in channel:
                await trio.sleep(max(0.0, at - time.monotonic()))
                try:
                    if not data:
                        # One end went: libp2p uses no half connections.
                        whole.cancel()
                        return
                    view = memoryview(data)
                    while view:
                        view = view[await sink.send(view) :]
                except OSError:
                    whole.cancel()
                    return

    def _lost_s(self, condition: Condition, size: int) -> float:
        """How long what is lost of these bytes takes to be sent again."""
        if not condition.loss:
            return 0.0
        longest = 0.0
        for _ in range(-(-size // PACKET_BYTES)):
            waited, next_s, resends = 0.0, RESENT_S, 0
            while resends < RESENDS_MAX and self._random.random() < condition.loss:
                waited, next_s, resends = waited + next_s, next_s * 2, resends + 1
            longest = max(longest, waited)
        return longest


def main() -> None:
    """Carry between the nodes with these ports."""
    ports = [int(argument) for argument in sys.argv[1:]]
    with Orders() as orders:
        trio.run(partial(Proxy(ports, Random(0)).run, orders))


if __name__ == "__main__":
    main()
