"""A router in user space: IP packets from each namespace's TUN to another's, as the conditions have it.

A process of its own (`python -m prsm_node.chaos.router FD FD ...`, descriptors of the TUNs in the order of
the nodes), so that it takes no time of the daemons' loops. It reads Conditions from stdin, one JSON object a
line, and answers each with a line when it holds. It ends with its stdin.
"""

import contextlib
import heapq
import os
import select
import sys
import time
from random import Random
from typing import Final

from prsm_node.chaos.orders import Orders
from prsm_node.chaos.shaping import Conditions, Line

PACKETS_AT_ONCE: Final = 64
PACKET_BYTES_MAX: Final = 65_536
IPV4: Final = 4
SOURCE, DESTINATION = 15, 19
"""Where the last bytes of an IPv4 packet's addresses lie; they are 1 + the node's place."""


class Router:
    """Carries packets between TUNs until its orders end."""

    def __init__(self, tuns: list[int], random: Random) -> None:
        self._tuns = tuns
        self._random = random
        places = range(len(tuns))
        self._lines = {(a, b): Line() for a in places for b in places if a != b}
        self._waiting: list[tuple[float, int, Line, int, bytes]] = []
        self._count = 0

    def order(self, conditions: Conditions) -> None:
        """From now on the links are like this."""
        differing = {(a, b): condition for a, b, condition in conditions.pairs}
        for pair, line in self._lines.items():
            line.condition = differing.get(pair, conditions.default)

    def run(self, orders: Orders) -> None:
        """Carry until the orders end."""
        poll = select.epoll()
        poll.register(orders.descriptor, select.EPOLLIN)
        for tun in self._tuns:
            poll.register(tun, select.EPOLLIN)
        while not orders.over:
            timeout = -1.0
            if self._waiting:
                timeout = max(0.0, self._waiting[0][0] - time.monotonic())
            for descriptor, _ in poll.poll(timeout):
                if descriptor == orders.descriptor:
                    for conditions in orders.read():
                        self.order(conditions)
                        orders.done()
                else:
                    self._carry(descriptor)
            self._deliver()

    def _carry(self, tun: int) -> None:
        """Take what came out of a TUN."""
        now = time.monotonic()
        for _ in range(PACKETS_AT_ONCE):
            try:
                packet = os.read(tun, PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            if len(packet) <= DESTINATION or packet[0] >> 4 != IPV4:
                continue
            to = packet[DESTINATION] - 1
            line = self._lines.get((packet[SOURCE] - 1, to))
            if line is None:
                continue
            at = line.leaves_at(len(packet), now, self._random)
            if at is None:
                continue
            if at <= now:
                self._write(to, packet)
                continue
            line.waiting_bytes += len(packet)
            self._count += 1
            heapq.heappush(self._waiting, (at, self._count, line, to, packet))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            _, _, line, to, packet = heapq.heappop(self._waiting)
            line.waiting_bytes -= len(packet)
            self._write(to, packet)

    def _write(self, to: int, packet: bytes) -> None:
        # A TUN whose queue is full loses the packet, as a line does.
        with contextlib.suppress(BlockingIOError):
            os.write(self._tuns[to], packet)


def main() -> None:
    """Route between the TUNs of these descriptors."""
    tuns = [int(argument) for argument in sys.argv[1:]]
    with Orders() as orders:
        Router(tuns, Random(0)).run(orders)


if __name__ == "__main__":
    main()
