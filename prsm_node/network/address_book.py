"""Addresses of nodes, bounded, and whom this node dials next.

The operator's bootstrap nodes and the anchors of the last run are kept apart. All others lie in the buckets
of two tables, as in Bitcoin's address manager: `new` for what was only heard of, `tried` for where a link
of ours lasted. Which buckets an address may lie in follows from the network groups of who told of it and of
itself, and from a secret, so that one teller, or one group of addresses, reaches few of them however much
it tells: an eighth of the new places a telling group, an eighth of the tried ones a group. In a full bucket
what failed gives way, then what is crowded there. Whom to dial is drawn by bucket, so that a full one
counts no more than one with a single node.

A failure doubles the wait, a link that came up ends it.
"""

import random
from collections import Counter
from collections.abc import Collection, Iterator
from hashlib import sha256

import msgspec

from prsm_node.network.addresses import Address
from prsm_node.network.config import NetworkConfig
from prsm_node.network.groups import group_of, is_shared

# 1,024 nodes x 8 addresses x about 200 bytes: 1.6 MB. Bootstrap nodes and anchors come on top.
NEW_BUCKETS, NEW_PLACES, NEW_BUCKETS_A_SOURCE = 64, 12, 8
TRIED_BUCKETS, TRIED_PLACES, TRIED_BUCKETS_A_GROUP = 16, 16, 2
NODES_MAX = NEW_BUCKETS * NEW_PLACES + TRIED_BUCKETS * TRIED_PLACES
ADDRESSES_PER_NODE_MAX = 8
# A node that was only heard of is forgotten after as many failures in a row: with doubling waits a minute.
FAILURES_MAX = 10
LASTING_S = 5.0
# Outbound links to peers only heard of, in one group that strangers share.
OUTBOUND_PER_GROUP = 2
DUE_MAX = 16


class _Node(msgspec.Struct):
    addresses: list[Address]
    teller: bytes
    bootstrap: bool = False
    anchor: bool = False
    tried: bool = False
    group: str = ""
    """What spread it over the buckets."""
    bucket: int = -1
    """In its table; -1 where it is kept apart."""
    failures: int = 0
    due: float = 0.0
    turn: int = 0

    @property
    def kept_apart(self) -> bool:
        return self.bootstrap or self.anchor


class AddressBook:
    """Whom this node could dial."""

    def __init__(self, own_key: bytes, config: NetworkConfig, randomness: random.Random) -> None:
        self._own_key = own_key
        self._config = config
        self._random = randomness
        self._secret = randomness.randbytes(16)
        self._nodes: dict[bytes, _Node] = {}
        self._new: list[list[bytes]] = [[] for _ in range(NEW_BUCKETS)]
        self._tried: list[list[bytes]] = [[] for _ in range(TRIED_BUCKETS)]
        self._told: Counter[bytes] = Counter()

    def learn(
        self,
        address: Address,
        *,
        bootstrap: bool = False,
        anchor: bool = False,
        teller: bytes = b"",
        source: str = "",
    ) -> bool:
        """Keep an address; return whether it was new. Our own, and those without a key, are not kept.

        `teller` is the key of the linked node that told of it, b"" where it was none; `source` its network
        group.
        """
        key = address.node_key
        if key is None or key == self._own_key or address.port == 0:
            return False
        node = self._nodes.get(key)
        if node is None:
            node = _Node([], teller)
            if not (bootstrap or anchor) and not self._place_new(key, node, address, source):
                return False
            self._nodes[key] = node
            self._told[teller] += 1
        if bootstrap or anchor:
            self._take_out(key, node)
            node.bootstrap, node.anchor = node.bootstrap or bootstrap, node.anchor or anchor
        if address in node.addresses:
            return False
        if node.tried and teller not in (b"", key) and not bootstrap:
            return False  # where it is we know better than who tells of it
        if len(node.addresses) >= ADDRESSES_PER_NODE_MAX:
            # The oldest that is not an operator's goes; those come first.
            del node.addresses[-1]
        node.addresses.insert(0 if bootstrap else len(node.addresses), address)
        return True

    def due(
        self, now: float, linked: set[bytes], room: bool, outbound_groups: Collection[str] = ()
    ) -> list[Address]:
        """Return an address of each node to dial now, the first to be dialled in front: bootstrap nodes, then
        anchors, then, where there is room, a few drawn of those heard of.

        `outbound_groups` has the group of each link that was dialled on hearsay.
        """
        chosen: list[Address] = []
        apart = [(not node.bootstrap, key) for key, node in self._nodes.items() if node.kept_apart]
        for _, key in sorted(apart):
            node = self._nodes[key]
            if key not in linked and node.due <= now:
                chosen.append(_turn(node))
        if not room:
            return chosen
        held = Counter(outbound_groups)
        drawn = 0
        for key in self._drawn():
            node = self._nodes[key]
            if key in linked or node.due > now:
                continue
            address = node.addresses[node.turn % len(node.addresses)]
            group = group_of(address)
            if is_shared(group) and held[group] >= OUTBOUND_PER_GROUP:
                continue
            held[group] += 1
            chosen.append(_turn(node))
            drawn += 1
            if drawn == DUE_MAX:
                break
        return chosen

    def dialling(self, key: bytes, now: float) -> None:
        """A dial begins, which is a failure until a link has lasted: the next one waits."""
        node = self._nodes.get(key)
        if node is None:
            return
        longest_s = self._config.redial_known_max_s if node.bootstrap else self._config.redial_max_s
        # 2**30 x 0.2 s is beyond any bound: the exponent need not grow further.
        wait = min(self._config.redial_min_s * 2 ** min(node.failures, 30), longest_s)
        node.failures += 1
        node.due = now + wait * self._random.uniform(0.8, 1.2)
        if node.failures >= FAILURES_MAX and not node.bootstrap and not node.tried:
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

    def reached(self, address: Address) -> None:
        """A link that we dialled there lasted: the address has been tried, and is its node's first."""
        key = address.node_key
        node = self._nodes.get(key) if key is not None else None
        if key is None or node is None:
            return
        if address in node.addresses and not node.bootstrap:
            node.addresses.remove(address)
            node.addresses.insert(0, address)
            node.turn = 0
        node.failures = 0
        if not node.tried and not node.kept_apart:
            self._try(key, node, address)

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

    def is_kept_apart(self, key: bytes) -> bool:
        """Whether a node is no rumour: the operator's, or an anchor of the last run."""
        node = self._nodes.get(key)
        return node is not None and node.kept_apart

    def __len__(self) -> int:
        return len(self._nodes)

    def _place_new(self, key: bytes, node: _Node, address: Address, source: str) -> bool:
        group = _spread(address)
        way = self._draw(NEW_BUCKETS_A_SOURCE, source, group)
        bucket = self._draw(NEW_BUCKETS, source, str(way))
        keys = self._new[bucket]
        if len(keys) >= NEW_PLACES:
            worst = self._spare(keys, group)
            if worst is None:
                return False
            self._forget(worst)
        keys.append(key)
        node.group, node.bucket = group, bucket
        return True

    def _spare(self, keys: list[bytes], group: str) -> bytes | None:
        """Who in a full bucket gives way to one of this group: the one that failed most; if none did, the
        oldest of the group that is crowded there."""
        worst = max(keys, key=lambda other: self._nodes[other].failures)
        if self._nodes[worst].failures:
            return worst
        groups = [self._nodes[other].group for other in keys]
        crowds = Counter(groups)
        largest, size = crowds.most_common(1)[0]
        return keys[groups.index(largest)] if size > crowds[group] + 1 else None

    def _try(self, key: bytes, node: _Node, address: Address) -> None:
        """Move a node to the tried ones, unless its place there is held by others that do not fail."""
        group = _spread(address)
        bucket = self._draw(TRIED_BUCKETS, group, str(self._draw(TRIED_BUCKETS_A_GROUP, key.hex(), "")))
        keys = self._tried[bucket]
        if len(keys) >= TRIED_PLACES:
            worst = max(keys, key=lambda other: self._nodes[other].failures)
            if self._nodes[worst].failures == 0:
                return
            self._forget(worst)
        self._take_out(key, node)
        keys.append(key)
        node.tried, node.group, node.bucket = True, group, bucket

    def _draw(self, bound: int, one: str, other: str) -> int:
        """A number below `bound` that only who knows the secret can tell."""
        digest = sha256(self._secret + f"{bound}|{one}|{other}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % bound

    def _drawn(self) -> Iterator[bytes]:
        """Give the nodes of both tables in a random order in which each bucket has the same turn."""
        buckets = [list(keys) for keys in (*self._tried, *self._new) if keys]
        self._random.shuffle(buckets)
        for keys in buckets:
            self._random.shuffle(keys)
        while buckets:
            for keys in buckets:
                yield keys.pop()
            buckets = [keys for keys in buckets if keys]

    def _take_out(self, key: bytes, node: _Node) -> None:
        if node.bucket >= 0:
            (self._tried if node.tried else self._new)[node.bucket].remove(key)
        node.tried, node.bucket = False, -1

    def _forget(self, key: bytes) -> None:
        node = self._nodes.pop(key)
        self._take_out(key, node)
        self._told[node.teller] -= 1
        if not self._told[node.teller]:
            del self._told[node.teller]


def _turn(node: _Node) -> Address:
    node.turn += 1
    return node.addresses[(node.turn - 1) % len(node.addresses)]


def _spread(address: Address) -> str:
    """What spreads nodes over buckets: the group where strangers share it, else each address by itself."""
    group = group_of(address)
    return group if is_shared(group) else address.transport
