"""The hash tree over the buckets of accounts, held flat in memory: one bytearray of hashes a level.

A million accounts take 2.1 MB and 0.1 s to hash; so the tree is not stored but built when the state is
opened, which at once checks every stored record against the stored root. Changing a bucket marks its path;
`root` hashes marked paths only, each node once however many buckets below it changed.
"""

from collections.abc import Collection, Iterable
from hashlib import sha256
from operator import itemgetter

from prsm_node.ledger.bucket_groups import GROUP_LEVELS, group_count
from prsm_node.ledger.roots import FAN_OUT, HASH_BYTES, NODE_BYTES, accounts_root, levels_of

_ZERO_NODE = bytes(NODE_BYTES)
_first = itemgetter(0)


class Tree:
    """Level 0 holds the hashes of buckets, the next one those of nodes of sixteen, and so on to one node."""

    def __init__(self) -> None:
        self._levels: list[bytearray] = [bytearray(NODE_BYTES)]
        self._top = sha256(_ZERO_NODE).digest()

    def build(self, buckets: Iterable[bytes | bytearray | memoryview]) -> None:
        """Hash all buckets, given in order."""
        hashes = b"".join([sha256(bucket).digest() for bucket in buckets])
        self._levels = [bytearray(hashes)]
        _pad(self._levels[0])
        while len(self._levels[-1]) > NODE_BYTES:
            below = memoryview(self._levels[-1])
            above = bytearray(
                b"".join(
                    [sha256(below[at : at + NODE_BYTES]).digest() for at in range(0, len(below), NODE_BYTES)]
                )
            )
            _pad(above)
            self._levels.append(above)
        self._top = sha256(self._levels[-1]).digest()

    def update(self, buckets: Collection[tuple[int, bytearray]]) -> None:
        """Hash these changed buckets (place, content) and the paths above them."""
        if not buckets:
            return
        self._grow(max(map(_first, buckets)))
        level = self._levels[0]
        for place, content in buckets:
            at = place * HASH_BYTES
            level[at : at + HASH_BYTES] = sha256(content).digest()
        places = {place // FAN_OUT for place, _ in buckets}
        for above in self._levels[1:]:
            with memoryview(level) as below:
                for place in places:
                    at = place * HASH_BYTES
                    start = place * NODE_BYTES
                    above[at : at + HASH_BYTES] = sha256(below[start : start + NODE_BYTES]).digest()
            places = {place // FAN_OUT for place in places}
            level = above
        self._top = sha256(level).digest()

    def root(self, accounts: int) -> bytes:
        """Return the root of the accounts module, of this many accounts."""
        assert len(self._levels) == levels_of(accounts), f"{len(self._levels)} levels for {accounts} accounts"
        return accounts_root(accounts, self._top)

    def groups(self, accounts: int) -> tuple[bytes, ...]:
        """Return the hash of each group of buckets (ledger/bucket_groups.py)."""
        count = group_count(accounts)
        if count <= 1:
            return (self._top,) * count
        level = self._levels[GROUP_LEVELS]
        return tuple(bytes(level[at * HASH_BYTES : (at + 1) * HASH_BYTES]) for at in range(count))

    def siblings(self, place: int) -> tuple[bytes, ...]:
        """Return for each level, from bucket `place` up, the node's other children, zeros at the end cut."""
        found = []
        for level in self._levels:
            place, child = divmod(place, FAN_OUT)
            node = bytes(level[place * NODE_BYTES : (place + 1) * NODE_BYTES])
            split = child * HASH_BYTES
            after = node[split + HASH_BYTES :]
            present = -(-len(after.rstrip(b"\0")) // HASH_BYTES) * HASH_BYTES
            found.append(node[:split] + after[:present])
        return tuple(found)

    def _grow(self, place: int) -> None:
        """Make room for bucket `place`, with new levels if the top has become more than one node."""
        depth = 0
        while True:
            level = self._levels[depth]
            if len(level) <= place * HASH_BYTES:
                level.extend(bytes(place // FAN_OUT * NODE_BYTES + NODE_BYTES - len(level)))
            if len(level) == NODE_BYTES:
                return
            if depth + 1 == len(self._levels):
                # What was the top node is the first child of the new one, and its hash is not stored yet.
                self._levels.append(bytearray(NODE_BYTES))
                self._levels[-1][:HASH_BYTES] = sha256(level[:NODE_BYTES]).digest()
            place //= FAN_OUT
            depth += 1


def _pad(level: bytearray) -> None:
    """Fill up the last node with absent children."""
    missing = -len(level) % NODE_BYTES or (NODE_BYTES if not level else 0)
    level.extend(bytes(missing))
