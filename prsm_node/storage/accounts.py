"""Accounts over LMDB: buckets of records, the map from addresses to numbers, and what is not committed yet.

`_buckets` holds the latest content of every bucket that is changed, being committed, or was read lately; LMDB
is asked only for what is not there, so that it does not matter whether a commit under way is already visible.
Changes live in two generations: `_dirty` since the last freeze, and a frozen one while a thread commits it.
"""

from collections.abc import Iterable
from typing import Final

import lmdb
import msgspec

from prsm_node.ledger.accounts import (
    BUCKET_BYTES,
    NUMBERS,
    NUMBERS_OFFSET,
    RECORD,
    RECORDS_PER_BUCKET,
    Account,
    Entry,
)
from prsm_node.ledger.roots import AccountProof, bucket_count
from prsm_node.storage.accounts_copy import AccountsCopy
from prsm_node.storage.environment import PAGE_BYTES, Environment
from prsm_node.storage.tree import Tree

# About 1.1 KB each with the dict's part: 13 MB. 8,192 buckets hold 131,072 accounts.
BUCKETS_CACHED_MAX: Final = 12_288
# About 190 bytes each: 12 MB.
NUMBERS_CACHED_MAX: Final = 65_536

_SHIFT: Final = RECORDS_PER_BUCKET.bit_length() - 1
_MASK: Final = RECORDS_PER_BUCKET - 1
_RECORD_BYTES: Final = RECORD.size
_BALANCE_ONLY_BYTES: Final = 8

assert 1 << _SHIFT == RECORDS_PER_BUCKET


class FrozenAccounts(msgspec.Struct, frozen=True):
    """One generation on its way to the disk, in order of key."""

    buckets: list[tuple[bytes, bytes]]
    numbers: list[tuple[bytes, bytes]]
    copy: AccountsCopy | None = None
    """Under way: it is given what is overwritten."""

    @property
    def bytes_expected(self) -> int:
        """Copy on write: a page for each bucket and each new address, and as much for the pages above."""
        return (len(self.buckets) + len(self.numbers)) * PAGE_BYTES * 3 // 2

    def put(self, transaction: lmdb.Transaction, environment: Environment) -> None:
        if self.copy is not None:
            self.copy.keep(transaction, environment, [key for key, _ in self.buckets])
        with transaction.cursor(environment.buckets) as cursor:
            cursor.putmulti(self.buckets)
        with transaction.cursor(environment.numbers) as cursor:
            cursor.putmulti(self.numbers)


class AccountStore:
    """The ledger's Accounts. Between `begin` and `end` it reads through one snapshot."""

    def __init__(self, environment: Environment, count: int) -> None:
        self._environment = environment
        self.count = count
        """Accounts that exist, uncommitted ones included."""
        self.tree = Tree()
        self._buckets: dict[int, bytearray] = {}
        self._changed: set[int] = set()
        """By the block in hand."""
        self._dirty: set[int] = set()
        self._frozen: set[int] = set()
        self._numbers: dict[bytes, int] = {}
        self._fresh: dict[bytes, int] = {}
        """Addresses that got their number since the last freeze."""
        self._frozen_numbers: dict[bytes, int] = {}
        self._transaction: lmdb.Transaction | None = None
        self._copy: AccountsCopy | None = None

    def copy(self) -> AccountsCopy:
        """Begin a copy of the accounts as they are on the disk, which must be as they are here."""
        assert not self._dirty, "there are changes that the disk does not have"
        assert not self._frozen, "a commit is under way"
        self._copy = AccountsCopy(self._environment, self.count, self.tree.groups(self.count))
        return self._copy

    def end_copy(self) -> None:
        """Lay nothing more aside."""
        self._copy = None

    def begin(self) -> None:
        """Open the snapshot for a block's reads."""
        assert self._transaction is None, "a snapshot is open already"
        self._transaction = self._environment.begin()

    def end(self) -> None:
        """Close it, and keep the caches in bounds."""
        assert self._transaction is not None, "no snapshot is open"
        self._transaction.abort()
        self._transaction = None
        if len(self._buckets) > BUCKETS_CACHED_MAX + len(self._dirty) + len(self._frozen):
            self._trim_buckets()
        if len(self._numbers) > NUMBERS_CACHED_MAX:
            # The older half goes; a dict keeps its order.
            for address in list(self._numbers)[: NUMBERS_CACHED_MAX // 2]:
                del self._numbers[address]

    def load(self, address: bytes) -> Entry | None:
        number = self._numbers.get(address)
        if number is None and (number := self._number(address)) is None:
            return None
        place = number >> _SHIFT
        bucket = self._buckets.get(place) or self._read_bucket(place)
        return Entry(number, *NUMBERS.unpack_from(bucket, (number & _MASK) * _RECORD_BYTES + NUMBERS_OFFSET))

    def create(self, address: bytes) -> Entry:
        number = self.count
        self.count += 1
        self._fresh[address] = number
        place = number >> _SHIFT
        if number & _MASK == 0:
            self._buckets[place] = bytearray(BUCKET_BYTES)
        bucket = self._buckets.get(place) or self._read_bucket(place)
        RECORD.pack_into(bucket, (number & _MASK) * _RECORD_BYTES, address, 0, 0, 0)
        self._changed.add(place)
        return Entry(number, 0, 0, 0)

    def store(self, entry: Entry) -> int:
        number = entry.number
        place = number >> _SHIFT
        bucket = self._buckets.get(place) or self._read_bucket(place)
        at = (number & _MASK) * _RECORD_BYTES + NUMBERS_OFFSET
        before = int.from_bytes(bucket[at : at + _BALANCE_ONLY_BYTES], "little")
        NUMBERS.pack_into(bucket, at, entry.balance, entry.nonce, entry.last)
        self._changed.add(place)
        return entry.balance - before

    def hash_changes(self) -> bytes:
        """End a block: bring the tree up to date; return the root of the accounts."""
        buckets = self._buckets
        self.tree.update([(place, buckets[place]) for place in self._changed])
        self._dirty |= self._changed
        self._changed.clear()
        return self.tree.root(self.count)

    def account(self, address: bytes) -> Account | None:
        """Return an account as of the last executed block."""
        number = self._numbers.get(address)
        bucket = None if number is None else self._buckets.get(number >> _SHIFT)
        if number is not None and bucket is not None:
            # Admission asks for each transaction: most often no snapshot is needed.
            at = (number & _MASK) * _RECORD_BYTES + NUMBERS_OFFSET
            return Account(address, *NUMBERS.unpack_from(bucket, at))
        self.begin()
        try:
            entry = self.load(address)
        finally:
            self.end()
        return None if entry is None else Account(address, entry.balance, entry.nonce, entry.last)

    def proof(self, address: bytes, others: tuple[bytes, ...]) -> AccountProof | None:
        """Return the proof of an account as of the last executed block, None where there is none."""
        self.begin()
        try:
            number = self._number(address)
            if number is None:
                return None
            place = number >> _SHIFT
            bucket = bytes(self._buckets.get(place) or self._read_bucket(place))
        finally:
            self.end()
        return AccountProof(number, self.count, bucket, self.tree.siblings(place), others)

    def freeze(self) -> FrozenAccounts:
        """Copy what changed since the last freeze; it stays readable here while a thread commits it."""
        assert not self._frozen, "the last generation is still on its way"
        assert not self._frozen_numbers, "the last generation is still on its way"
        assert not self._changed, "a block is in hand"
        buckets = self._buckets
        frozen = FrozenAccounts(
            [(place.to_bytes(8, "big"), bytes(buckets[place])) for place in sorted(self._dirty)],
            [(address, number.to_bytes(8, "big")) for address, number in sorted(self._fresh.items())],
            self._copy,
        )
        self._frozen, self._dirty = self._dirty, set()
        self._frozen_numbers, self._fresh = self._fresh, {}
        return frozen

    def committed(self) -> None:
        """The frozen generation is on the disk."""
        self._frozen = set()
        self._numbers.update(self._frozen_numbers)
        self._frozen_numbers = {}

    def thaw(self) -> None:
        """The commit failed: the frozen generation is dirty again."""
        self._dirty |= self._frozen
        self._frozen = set()
        self._fresh = {**self._frozen_numbers, **self._fresh}
        self._frozen_numbers = {}

    def fill(self, accounts: Iterable[tuple[bytes, int]]) -> FrozenAccounts:
        """Lay down the genesis' accounts (address, balance), in numbers of this order."""
        assert self.count == 0, f"{self.count} accounts exist before the genesis"
        records = [RECORD.pack(address, balance, 0, 0) for address, balance in accounts]
        addresses = [record[:NUMBERS_OFFSET] for record in records]
        self.count = len(records)
        contents = [
            b"".join(records[at : at + RECORDS_PER_BUCKET]).ljust(BUCKET_BYTES, b"\0")
            for at in range(0, len(records), RECORDS_PER_BUCKET)
        ]
        self.tree.build(contents)
        return FrozenAccounts(
            [(place.to_bytes(8, "big"), content) for place, content in enumerate(contents)],
            sorted((address, number.to_bytes(8, "big")) for number, address in enumerate(addresses)),
        )

    def hash_all(self) -> bytes:
        """Build the tree from every stored bucket; return the root of the accounts."""
        with self._environment.read() as transaction, transaction.cursor(self._environment.buckets) as cursor:
            self.tree.build(cursor.iternext(keys=False, values=True))
            stored = transaction.stat(self._environment.buckets)["entries"]
        if stored != bucket_count(self.count):
            return b""
        return self.tree.root(self.count)

    def _number(self, address: bytes) -> int | None:
        number = self._numbers.get(address)
        if number is not None:
            return number
        number = self._fresh.get(address)
        if number is None:
            number = self._frozen_numbers.get(address)
        if number is not None:
            return number
        assert self._transaction is not None, "read within begin and end"
        stored = self._transaction.get(address, db=self._environment.numbers)
        if stored is None:
            return None
        number = int.from_bytes(stored, "big")
        self._numbers[address] = number
        return number

    def _read_bucket(self, place: int) -> bytearray:
        assert self._transaction is not None, "read within begin and end"
        stored = self._transaction.get(place.to_bytes(8, "big"), db=self._environment.buckets)
        assert stored is not None, f"bucket {place} is missing, with {self.count} accounts"
        bucket = self._buckets[place] = bytearray(stored)
        return bucket

    def _trim_buckets(self) -> None:
        """Forget the longest held clean buckets, down to three quarters of the bound."""
        excess = len(self._buckets) - len(self._dirty) - len(self._frozen) - BUCKETS_CACHED_MAX * 3 // 4
        kept = self._dirty | self._frozen
        clean = (place for place in self._buckets if place not in kept)
        for place in [place for place, _ in zip(clean, range(excess), strict=False)]:
            del self._buckets[place]
