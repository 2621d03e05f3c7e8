"""Blocks by height: what was decided, what it listed, what became of each transaction in it.

Three stores: `blocks` (small, what a header look-up needs), `commits` (replaced when late precommits make a
certificate stronger) and `rows` (outcomes, hash prefixes and the threads of account histories). Bodies stay
in the journal; a block knows their positions there.
"""

import sys
from array import array
from typing import Annotated, Final

import lmdb
import msgspec

from consensus.blocks import Block
from consensus.bounds import Digest, Sequence, ValidatorKey
from consensus.certificates import Certificate
from prsm_node.ledger.execution import Executed
from prsm_node.storage.environment import PAGE_BYTES, Environment

PREFIX_BYTES: Final = 8
WORD_BYTES: Final = 8
OFFSET_BYTES: Final = 4
FIRST_KEY: Final = b"first"
"""Where the stores begin, among the state's metadata."""


class BatchRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A batch that a block ordered, in the place where it was executed."""

    author: ValidatorKey
    sequence: Sequence
    digest: Digest
    position: int
    """Of its body, in the journal."""
    transactions: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How many the body holds; `State.execute` counts them itself."""


class BlockRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    block: Block
    digest: Digest
    state_root: Digest
    """Of the state after this block."""
    batches: tuple[BatchRecord, ...]
    """In order of execution."""

    @property
    def transactions(self) -> int:
        return sum(batch.transactions for batch in self.batches)


class Rows(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a block keeps of each of its transactions, as packed columns."""

    outcomes: bytes
    prefixes: bytes
    """The first 8 bytes of each hash."""
    previous: bytes
    """Little-endian 64-bit positions: see Executed.previous."""
    offsets: bytes
    """Little-endian 32-bit; empty if each transaction has two words."""

    def previous_of(self, index: int, party: int) -> int:
        """Return a party's position before this transaction: 0 is the sender, 1 the first recipient."""
        if self.offsets:
            start = int.from_bytes(self.offsets[index * OFFSET_BYTES : (index + 1) * OFFSET_BYTES], "little")
        else:
            start = index * 2
        at = (start + party) * WORD_BYTES
        assert at + WORD_BYTES <= len(self.previous), f"no previous position of party {party} of {index}"
        return int.from_bytes(self.previous[at : at + WORD_BYTES], "little")


class StoredBlock(msgspec.Struct, frozen=True):
    """A block with the strongest commit certificate known for it."""

    record: BlockRecord
    commit: Certificate


def rows_of(executed: Executed) -> Rows:
    return Rows(
        executed.outcomes,
        b"".join([digest[:PREFIX_BYTES] for digest in executed.hashes]),
        _little(executed.previous),
        _little(executed.offsets),
    )


def _little(words: "array[int]") -> bytes:
    if sys.byteorder == "big":
        words = words[:]
        words.byteswap()
    return words.tobytes()


class FrozenBlocks(msgspec.Struct, frozen=True):
    """One generation on its way to the disk, in order of height."""

    blocks: list[tuple[bytes, bytes]]
    commits: list[tuple[bytes, bytes]]
    rows: list[tuple[bytes, bytes]]

    @property
    def bytes_expected(self) -> int:
        """Longer values take whole pages of their own."""
        values = (value for store in (self.blocks, self.commits, self.rows) for _, value in store)
        return sum(len(value) + 2 * PAGE_BYTES for value in values)

    def put(self, transaction: lmdb.Transaction, environment: Environment) -> None:
        for store, items in (
            (environment.blocks, self.blocks),
            (environment.commits, self.commits),
            (environment.rows, self.rows),
        ):
            with transaction.cursor(store) as cursor:
                cursor.putmulti(items)


class PrunedBlocks(msgspec.Struct, frozen=True):
    """Blocks on their way off the disk: from a height up to below another."""

    start: int
    end: int

    @property
    def bytes_expected(self) -> int:
        """Copy on write: the pages above what is deleted are written anew, and the list of free ones."""
        return (self.end - self.start) * 3 * PAGE_BYTES

    def put(self, transaction: lmdb.Transaction, environment: Environment) -> None:
        for height in range(self.start, self.end):
            for store in (environment.blocks, environment.commits, environment.rows):
                transaction.delete(_key(height), db=store)
        transaction.put(FIRST_KEY, _key(self.end), db=environment.meta)


_encode = msgspec.msgpack.encode
_block_decoder = msgspec.msgpack.Decoder(BlockRecord)
_commit_decoder = msgspec.msgpack.Decoder(Certificate)
_rows_decoder = msgspec.msgpack.Decoder(Rows)


class BlockStore:
    """Blocks, those not committed yet from memory."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        first = environment.get(environment.meta, FIRST_KEY)
        self.first = 1 if first is None else int.from_bytes(first, "big")
        """The lowest height whose block is kept; those below are pruned, or were never here."""
        self._blocks: dict[int, BlockRecord] = {}
        self._rows: dict[int, Rows] = {}
        self._commits: dict[int, Certificate] = {}
        self._frozen: tuple[list[int], list[tuple[int, Certificate]]] = ([], [])
        """What is being committed: it stays in the dicts until it is on the disk."""

    def add(self, record: BlockRecord, commit: Certificate, rows: Rows) -> None:
        height = record.block.height
        self._blocks[height] = record
        self._commits[height] = commit
        self._rows[height] = rows

    def replace_commit(self, height: int, commit: Certificate) -> None:
        if height >= self.first:
            self._commits[height] = commit

    @property
    def commits_changed(self) -> bool:
        """Whether a certificate waits for the next commit."""
        return bool(self._commits)

    def block(self, height: int) -> BlockRecord | None:
        record = self._blocks.get(height)
        if record is not None:
            return record
        if height < self.first:
            return None
        stored = self._environment.get(self._environment.blocks, _key(height))
        return None if stored is None else _block_decoder.decode(stored)

    def commit(self, height: int) -> Certificate | None:
        certificate = self._commits.get(height)
        if certificate is not None:
            return certificate
        stored = self._environment.get(self._environment.commits, _key(height))
        return None if stored is None else _commit_decoder.decode(stored)

    def rows(self, height: int) -> Rows | None:
        rows = self._rows.get(height)
        if rows is not None:
            return rows
        stored = self._environment.get(self._environment.rows, _key(height))
        return None if stored is None else _rows_decoder.decode(stored)

    def prune(self, first: int) -> PrunedBlocks:
        """Let go of the blocks below `first`, at once for who reads; return what takes them off the disk."""
        assert first > self.first, f"blocks begin at {self.first} already, not at {first}"
        pruned = PrunedBlocks(self.first, first)
        self.first = first
        return pruned

    def freeze(self) -> FrozenBlocks:
        assert self._frozen == ([], []), "the last generation is still on its way"
        heights, commits = sorted(self._blocks), sorted(self._commits.items(), key=lambda item: item[0])
        self._frozen = (heights, commits)
        return FrozenBlocks(
            [(_key(height), _encode(self._blocks[height])) for height in heights],
            [(_key(height), _encode(commit)) for height, commit in commits],
            [(_key(height), _encode(self._rows[height])) for height in heights],
        )

    def committed(self) -> None:
        """The frozen generation is on the disk. A certificate replaced meanwhile waits for the next one."""
        heights, commits = self._frozen
        for height in heights:
            del self._blocks[height], self._rows[height]
        for height, commit in commits:
            if self._commits[height] is commit:
                del self._commits[height]
        self._frozen = ([], [])

    def thaw(self) -> None:
        """The commit failed: all of it waits for the next one."""
        self._frozen = ([], [])


def _key(height: int) -> bytes:
    return height.to_bytes(8, "big")
