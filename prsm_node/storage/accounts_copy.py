"""The accounts as they stood at one height, read while later blocks change them.

A long snapshot of LMDB would hold every page that is freed meanwhile. So the buckets are read a group at a
time, each within one call, and the write transaction that first changes a bucket not read yet lays its old
content aside. A group takes about 0.3 ms of the loop where the pages are in memory, and opening the state
read them all.
"""

from typing import Final

import lmdb

from prsm_node.ledger.accounts import BUCKET_BYTES
from prsm_node.ledger.bucket_groups import GROUP_BUCKETS, group_bytes, group_count
from prsm_node.ledger.roots import bucket_count
from prsm_node.storage.environment import Environment
from prsm_node.storage.errors import StorageError

# 60 MB with the dict's part. Reading 10^6 accounts takes less than two seconds, in which 30,000 transfers
# between random ones lay at most as many buckets aside.
KEPT_MAX: Final = 60_000


class CopyOverrun(StorageError):
    """More was changed meanwhile than is laid aside: the copy is given up, the state is as it was."""


class AccountsCopy:
    """Made when all that was executed is committed. `read` on the loop, `keep` in the commit's thread."""

    def __init__(self, environment: Environment, count: int, groups: tuple[bytes, ...]) -> None:
        self._environment = environment
        self.count = count
        self.groups = groups
        """What the pieces must hash to."""
        self._buckets = bucket_count(count)
        self._next = 0
        self._kept: dict[int, bytes] = {}
        self._overrun = False

    @property
    def done(self) -> bool:
        """Whether all was read: nothing needs to be laid aside any more."""
        return self._next >= self._buckets

    @property
    def index(self) -> int:
        """Of the group to be read next."""
        return self._next // GROUP_BUCKETS

    def keep(self, transaction: lmdb.Transaction, environment: Environment, keys: list[bytes]) -> None:
        """Lay aside what stands in these buckets, which the transaction is about to overwrite."""
        for key in keys:
            place = int.from_bytes(key, "big")
            if self._next <= place < self._buckets and place not in self._kept and not self._overrun:
                content = transaction.get(key, db=environment.buckets)
                assert content is not None, f"bucket {place} of {self._buckets} is missing"
                self._kept[place] = bytes(content)
        if len(self._kept) > KEPT_MAX:
            self._overrun = True
            self._kept.clear()

    def read(self) -> bytes:
        """Return the next group as it stood; raise CopyOverrun."""
        assert not self.done, "all groups were read"
        first, index = self._next, self.index
        pieces: list[bytes] = []
        with self._environment.read() as transaction, transaction.cursor(self._environment.buckets) as cursor:
            cursor.set_range(first.to_bytes(8, "big"))
            for content in cursor.iternext(keys=False, values=True):
                pieces.append(bytes(content))
                if len(pieces) == GROUP_BUCKETS or first + len(pieces) == self._buckets:
                    break
        # What a commit overwrote before this read began was laid aside before it became visible.
        if self._overrun:
            raise CopyOverrun(f"more than {KEPT_MAX} buckets were changed while the accounts were copied")
        for place in range(first, first + len(pieces)):
            kept = self._kept.pop(place, None)
            if kept is not None:
                pieces[place - first] = kept
        self._next = first + len(pieces)
        group = b"".join(pieces)
        assert len(group) == group_bytes(self.count, index), f"group {index} has {len(group)} bytes"
        return group

    @property
    def group_count(self) -> int:
        return group_count(self.count)


assert BUCKET_BYTES * KEPT_MAX < 64 * 2**20, "what is laid aside fits its bound"
