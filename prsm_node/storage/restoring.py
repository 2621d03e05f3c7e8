"""A state made of a snapshot, beside the place where it will lie, and put there when all of it is durable.

Addresses come in the order in which accounts were created and LMDB wants them sorted: so the groups are read
in several passes, each for its share of the addresses, and memory is bounded whatever their number.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import lmdb
import msgspec

from prsm_node.genesis import Genesis
from prsm_node.ledger.accounts import BUCKET_BYTES, NUMBERS_OFFSET, RECORD
from prsm_node.ledger.bucket_groups import GROUP_ACCOUNTS, GROUP_BUCKETS, group_count
from prsm_node.storage.blocks import FIRST_KEY
from prsm_node.storage.durable_files import DRAFT, rename, sync_all
from prsm_node.storage.environment import MAP_BYTES, PAGE_BYTES, Environment
from prsm_node.storage.errors import StorageError
from prsm_node.storage.generation import GENESIS_KEY, HEAD_KEY, OWN
from prsm_node.storage.snapshot_folder import Snapshot

# Groups a transaction, 15 MB; each ends in an fsync.
GROUPS_AT_ONCE: Final = 64
# Of 74 bytes and a list's place each: 90 MB at most, if addresses are spread; they are hashes of keys.
ADDRESSES_A_PASS: Final = 2**20
_NUMBER_BYTES: Final = 8

Progress = Callable[[float], None]
"""Told which part of the work is done, from 0 to 1, after each transaction."""


def restore(
    snapshot: Snapshot,
    genesis: Genesis,
    meta: Mapping[bytes, bytes],
    directory: Path,
    tell: Progress = lambda done: None,
    map_bytes: int = MAP_BYTES,
) -> None:
    """Make the state of this snapshot in `directory`, where none is; it begins above the snapshot's height.

    Blocks for 3 s with 10^6 accounts. `meta`: what callers keep beside a state, as with `State.commit`. What
    certifies the snapshot was checked before, its groups are here. Raise StorageError; a crash or an error
    leaves no state.
    """
    assert not directory.exists(), f"there is a state in {directory}"
    draft = directory.with_name(directory.name + DRAFT)
    try:
        shutil.rmtree(draft, ignore_errors=True)
        directory.parent.mkdir(parents=True, exist_ok=True)
        environment = Environment(draft, map_bytes)
        try:
            _fill(environment, snapshot, tell)
            _finish(environment, snapshot, genesis, meta)
        finally:
            environment.close()
        sync_all(draft)
        rename(draft, directory)
    except (lmdb.Error, OSError) as error:
        raise StorageError(
            f"the snapshot can't be made a state in {directory}: {error}; check disk"
        ) from None


def _fill(environment: Environment, snapshot: Snapshot, tell: Progress) -> None:
    accounts = snapshot.manifest.accounts
    passes = -(-accounts // ADDRESSES_A_PASS)
    steps = 1 + passes
    groups = group_count(accounts)
    for first in range(0, groups, GROUPS_AT_ONCE):
        end = min(first + GROUPS_AT_ONCE, groups)
        content = {index: snapshot.group(index) for index in range(first, end)}
        size = sum(map(len, content.values()))
        environment.write_growing(2 * size, partial(_put_buckets, content))
        tell(end / groups / steps)
    for number in range(passes):
        found = _addresses(snapshot, number, passes)
        environment.write_growing(4 * sum(map(len, found)) + PAGE_BYTES, partial(_put_numbers, found))
        tell((2 + number) / steps)


def _put_buckets(content: dict[int, bytes], transaction: lmdb.Transaction, environment: Environment) -> None:
    with transaction.cursor(environment.buckets) as cursor:
        cursor.putmulti(_buckets(content), append=True)


def _buckets(content: dict[int, bytes]) -> Iterator[tuple[bytes, bytes]]:
    for index, group in content.items():
        for at in range(0, len(group), BUCKET_BYTES):
            place = index * GROUP_BUCKETS + at // BUCKET_BYTES
            yield place.to_bytes(8, "big"), group[at : at + BUCKET_BYTES]


def _addresses(snapshot: Snapshot, number: int, passes: int) -> list[bytes]:
    """Return the addresses of one pass, each with its account's number after it, in order."""
    accounts, found = snapshot.manifest.accounts, []
    for index in range(group_count(accounts)):
        group, first = snapshot.group(index), index * GROUP_ACCOUNTS
        for slot in range(min(GROUP_ACCOUNTS, accounts - first)):
            address = group[slot * RECORD.size : slot * RECORD.size + NUMBERS_OFFSET]
            # The first byte is the key's type, the rest a hash of the key.
            if passes == 1 or int.from_bytes(address[1:5], "big") * passes >> 32 == number:
                found.append(address + (first + slot).to_bytes(_NUMBER_BYTES, "big"))
    found.sort()
    return found


def _put_numbers(found: list[bytes], transaction: lmdb.Transaction, environment: Environment) -> None:
    with transaction.cursor(environment.numbers) as cursor:
        pairs = ((entry[:NUMBERS_OFFSET], entry[NUMBERS_OFFSET:]) for entry in found)
        # Key types come one after the other only within a pass.
        cursor.putmulti(pairs, append=False)


def _finish(
    environment: Environment, snapshot: Snapshot, genesis: Genesis, meta: Mapping[bytes, bytes]
) -> None:
    head = snapshot.manifest.head

    def put(transaction: lmdb.Transaction, environment: Environment) -> None:
        for key, value in meta.items():
            transaction.put(OWN + key, value, db=environment.meta)
        transaction.put(FIRST_KEY, (head.height + 1).to_bytes(8, "big"), db=environment.meta)
        transaction.put(GENESIS_KEY, genesis.hash, db=environment.meta)
        transaction.put(HEAD_KEY, msgspec.msgpack.encode(head), db=environment.meta)

    environment.write_growing(sum(map(len, meta.values())) + PAGE_BYTES, put)
