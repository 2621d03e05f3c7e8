"""Groups of buckets: the pieces in which the accounts travel, each named by its node of the hash tree.

A group is 256 buckets, two levels of the tree: what names it is the SHA-256 node above them. So a list of
groups can be held against a state root before the first group is here, and each group against the list when
it comes: who sends a wrong one is found out by that one alone.
"""

from hashlib import sha256
from typing import Final

from prsm_node.ledger.accounts import BUCKET_BYTES, RECORDS_PER_BUCKET
from prsm_node.ledger.roots import FAN_OUT, NODE_BYTES, accounts_root, bucket_count, levels_of

GROUP_LEVELS: Final = 2
GROUP_BUCKETS: Final = FAN_OUT**GROUP_LEVELS
GROUP_ACCOUNTS: Final = GROUP_BUCKETS * RECORDS_PER_BUCKET
GROUPS_MAX: Final = 2**18
"""10^9 accounts."""
GROUP_BYTES: Final = GROUP_BUCKETS * BUCKET_BYTES
"""233,472: one part of an answer."""


def group_count(accounts: int) -> int:
    return -(-bucket_count(accounts) // GROUP_BUCKETS)


def group_bytes(accounts: int, index: int) -> int:
    """Return the length of a group; all but the last are full."""
    assert 0 <= index < group_count(accounts), f"group {index} of {group_count(accounts)}"
    return min(GROUP_BUCKETS, bucket_count(accounts) - index * GROUP_BUCKETS) * BUCKET_BYTES


def group_hash(buckets: bytes | bytearray | memoryview, accounts: int) -> bytes:
    """Return what names these buckets, of a tree of so many accounts."""
    view = memoryview(buckets)
    hashes = [sha256(view[at : at + BUCKET_BYTES]).digest() for at in range(0, len(view), BUCKET_BYTES)]
    for _ in range(min(GROUP_LEVELS, levels_of(accounts)) - 1):
        hashes = [sha256(node).digest() for node in _nodes(hashes)]
    assert len(hashes) <= FAN_OUT, f"{len(view)} bytes are more than one group"
    return sha256(b"".join(hashes).ljust(NODE_BYTES, b"\0")).digest()


def root_of_groups(accounts: int, groups: tuple[bytes, ...]) -> bytes:
    """Return the root of the accounts module that these groups make."""
    assert len(groups) == group_count(accounts), f"{len(groups)} groups of {accounts} accounts"
    level = list(groups) or [sha256(bytes(NODE_BYTES)).digest()]
    while len(level) > 1:
        level = [sha256(node).digest() for node in _nodes(level)]
    return accounts_root(accounts, level[0])


def _nodes(hashes: list[bytes]) -> list[bytes]:
    """Lay hashes side by side in nodes, the last one filled up with absent children."""
    joined = b"".join(hashes)
    return [joined[at : at + NODE_BYTES].ljust(NODE_BYTES, b"\0") for at in range(0, len(joined), NODE_BYTES)]
