"""Addresses of nodes, bounded, and when each node is dialled next.

Bootstrap nodes are kept for ever. What was only heard of (peer exchange, mDNS, DHT, a greeting) is bounded
and forgotten first when dialling it keeps failing. A failure doubles the wait, a link that came up ends it.
"""

import random
from collections import Counter, OrderedDict

import msgspec

from prsm_node.network.addresses import Address
from prsm_node.network.config import NetworkConfig

# 1,024 nodes x 8 addresses x about 200 bytes: 1.6 MB.
NODES_MAX = 1_024
ADDRESSES_PER_NODE_MAX = 8
# A node that was only heard of is forgotten after as many failures in a row: with doubling waits a minute.
FAILURES_MAX = 10
LASTING_S = 5.0


class _Node(msgspec.Struct):
    addresses: list[Address]
    bootstrap: bool
    teller: bytes
    failures: int = 0
    due: float = 0.0
    turn: int = 0


class AddressBook:
    """Whom this node could dial."""

    def __init__(self, own_key: bytes, config: NetworkConfig, randomness: random.Random) -> None:
        self._own_key = own_key
        self._config = config
        self._random = randomness
        self._nodes: OrderedDict[bytes, _Node] = OrderedDict()
        self._told: Counter[bytes] = Counter()

    def learn(self, address: Address, bootstrap: bool = False, teller: bytes = b"") -> bool:
        """Keep an address; return whether it was new. Our own, and those without a key, are not kept.

        `teller` is the key of the linked node that told of it, b"" where it was none.
        """
        key = address.node_key
        if key is None or key == self._own_key or address.port == 0:
            return False
        node = self._nodes.get(key)
        if node is None:
            if not bootstrap and len(self._nodes) >= NODES_MAX and not self._forget_one():
                return False
            node = self._nodes[key] = _Node([], bootstrap, teller)
            self._told[teller] += 1
        node.bootstrap = node.bootstrap or bootstrap
        if address in node.addresses:
            return False
        if len(node.addresses) >= ADDRESSES_PER_NODE_MAX:
            # The oldest that is not an operator's goes; those come first.
            del node.addresses[-1]
        node.addresses.insert(0 if bootstrap else len(node.addresses), address)
        return True

    def due(self, now: float, linked: set[bytes], room: bool) -> list[Address]:
        """Return an address of each node to dial now; of those only heard of, none where there is no room."""
        chosen = []
        for key, node in self._nodes.items():
            if key in linked or node.due > now or not (node.bootstrap or room):
                continue
            chosen.append(node.addresses[node.turn % len(node.addresses)])
            node.turn += 1
        return chosen

    def dialling(self, key: bytes, now: float) -> None:
        """A dial begins, which is a failure until a link has lasted: the next one waits."""
        node = self._nodes.get(key)
        if node is None:
            return
        wait = min(self._config.redial_min_s * 2**node.failures, self._config.redial_max_s)
        node.failures += 1
        node.due = now + wait * self._random.uniform(0.8, 1.2)
        if node.failures >= FAILURES_MAX and not node.bootstrap:
            self._forget(key)

    def unlinked(self, key: bytes, now: float, lasted_s: float) -> None:
        """A link to the node ended. One that lasted is dialled again soon, each side at another moment; one
        that did not was refused over there, and the wait goes on doubling."""
        node = self._nodes.get(key)
        if node is None:
            return
        if lasted_s >= LASTING_S:
            node.failures = 0
            node.due = 0.0
        node.due = max(node.due, now + self._config.redial_min_s * self._random.uniform(0.5, 1.5))

    def addresses(self, key: bytes) -> tuple[Address, ...]:
        """What is known of a node."""
        node = self._nodes.get(key)
        return () if node is None else tuple(node.addresses)

    def teller(self, key: bytes) -> bytes:
        """Who told of a node first."""
        node = self._nodes.get(key)
        return b"" if node is None else node.teller

    def told_by(self, teller: bytes) -> int:
        """How many of the nodes kept were told of by this one."""
        return self._told[teller]

    def is_bootstrap(self, key: bytes) -> bool:
        node = self._nodes.get(key)
        return node is not None and node.bootstrap

    def __len__(self) -> int:
        return len(self._nodes)

    def _forget_one(self) -> bool:
        """Make room: the node only heard of that failed most, the oldest of those."""
        heard = [(node.failures, key) for key, node in self._nodes.items() if not node.bootstrap]
        if not heard:
            return False
        most = max(failures for failures, _ in heard)
        self._forget(next(key for failures, key in heard if failures == most))
        return True

    def _forget(self, key: bytes) -> None:
        node = self._nodes.pop(key)
        self._told[node.teller] -= 1
        if not self._told[node.teller]:
            del self._told[node.teller]
