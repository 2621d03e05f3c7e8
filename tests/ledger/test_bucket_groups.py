"""Groups of buckets: their hashes are nodes of the state's own tree, whatever the number of accounts."""

import pytest

from prsm_node.ledger.accounts import BUCKET_BYTES, RECORD, RECORDS_PER_BUCKET
from prsm_node.ledger.bucket_groups import GROUP_BYTES, group_bytes, group_count, group_hash, root_of_groups
from prsm_node.storage.tree import Tree

FULL = 16 * 256


def buckets_of(accounts: int) -> bytes:
    records = b"".join(RECORD.pack(number.to_bytes(33, "big"), number, 0, 0) for number in range(accounts))
    return records.ljust(-(-accounts // RECORDS_PER_BUCKET) * BUCKET_BYTES, b"\0")


@pytest.mark.parametrize(
    "accounts", [0, 1, 16, 17, 256, 257, FULL - 1, FULL, FULL + 1, FULL + 257, 16 * FULL, 16 * FULL + 1]
)
def test_groups_cut_from_the_buckets_make_the_trees_root(accounts: int) -> None:
    content = buckets_of(accounts)
    tree = Tree()
    tree.build(content[at : at + BUCKET_BYTES] for at in range(0, len(content), BUCKET_BYTES))
    pieces = [content[at : at + GROUP_BYTES] for at in range(0, len(content), GROUP_BYTES)]
    assert [len(piece) for piece in pieces] == [
        group_bytes(accounts, n) for n in range(group_count(accounts))
    ]
    groups = tuple(group_hash(piece, accounts) for piece in pieces)
    assert groups == tree.groups(accounts)
    assert root_of_groups(accounts, groups) == tree.root(accounts)


def test_a_changed_byte_or_another_number_of_accounts_is_another_root() -> None:
    content = buckets_of(FULL + 1)
    groups = (group_hash(content[:GROUP_BYTES], FULL + 1), group_hash(content[GROUP_BYTES:], FULL + 1))
    changed = bytearray(content[GROUP_BYTES:])
    changed[-1] ^= 1
    assert group_hash(changed, FULL + 1) != groups[1]
    assert root_of_groups(FULL + 2, groups) != root_of_groups(FULL + 1, groups)
    assert root_of_groups(FULL + 1, groups[::-1]) != root_of_groups(FULL + 1, groups)
