"""What links need of a network: streams to other nodes, each known by its node key.

host.py makes them of libp2p; a simulation hands in a network of its own, in memory and under a virtual clock.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from prsm_node.network.addresses import Address


class Stream(Protocol):
    """Bytes to and from one node, in order, over a connection of its own that goes with it."""

    @property
    def node_key(self) -> bytes:
        """Whom the connection proved to reach."""

    @property
    def address(self) -> str:
        """Where the peer is, /ip4/.../tcp/... as parse_address takes it; empty once the connection is gone,
        or where that can't be told."""

    async def read(self, n: int) -> bytes:
        """Return what came, at most `n` bytes; b"" or any exception says that the stream is over."""

    async def write(self, data: bytes) -> None:
        """Return when the bytes are taken; any exception says that the stream is over."""

    async def drop(self) -> None:
        """Close stream and connection. Never raises, never hangs."""


class Transport(Protocol):
    """Makes and takes streams while it runs."""

    faults: Counter[str]
    """What peers did to it, by kind."""
    blame: Callable[[bytes, str], None]
    """Told (node key, reason) when a peer overdoes it; links.py puts its own here."""
    refuses: Callable[[bytes], bool]
    """Asked whether a node is kept out, before anything is served on its connection; links.py's too."""
    costs: Callable[[bytes, float], float]
    """Told (node key, seconds of a core) of what is spent on a connection below its stream; gives how long to
    read nothing of it. links.py's as well."""

    def run(self, listen: Sequence[Address]) -> AbstractAsyncContextManager[list[Address]]:
        """Listen; give the bound addresses, with peer ids. OperatorError where one cannot be bound."""

    def handle(self, handler: "Callable[[Stream], Awaitable[None]]") -> None:
        """Give inbound streams to `handler`, each in a task of its own."""

    async def dial(self, address: Address) -> Stream:
        """Reach the node that the address names. Any exception says that it failed; nothing is left behind.

        The caller sets the deadline.
        """


MakeTransport = Callable[[bytes, int, float], Transport]
"""(seed of the node key, connections at most, seconds that a write may take)."""


def libp2p(seed: bytes, links_max: int, stall_s: float) -> Transport:
    """Make the libp2p host."""
    # Loading it takes 0.6 s and 84 MB; what only needs the types of this room goes without it.
    from prsm_node.network.host import Host

    return Host(seed, links_max, stall_s)
