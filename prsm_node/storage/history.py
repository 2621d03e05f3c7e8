"""An account's history: a walk from its last transaction back along the threads that blocks keep.

No index is written for it. Each step reads one block's rows and one body; bodies of the last few batches are
kept decoded, since neighbours in a history often share one.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from prsm_node.ledger.execution import transactions_of
from prsm_node.ledger.outcomes import Outcome
from prsm_node.ledger.positions import NO_POSITION, place_of, position_of
from prsm_node.ledger.transactions import Transaction, decode_transaction, transaction_hash
from prsm_node.storage.blocks import BlockRecord, Rows

BODIES_KEPT: Final = 8
HISTORY_MAX: Final = 1_000

ReadBody = Callable[[int], bytes]
"""From a position in the journal to the body there."""


class Blocks(Protocol):
    """What the walk needs of the block store."""

    @property
    def first(self) -> int:
        """The lowest height whose block is kept."""

    def block(self, height: int) -> BlockRecord | None: ...

    def rows(self, height: int) -> Rows | None: ...


class FoundTransaction(msgspec.Struct, frozen=True):
    """A transaction in its place in the chain."""

    hash: bytes
    raw: bytes
    transaction: Transaction
    outcome: Outcome
    position: int
    height: int
    index: int
    """In its block."""
    time_ms: int
    """Of its block."""
    block_digest: bytes


class UnknownPosition(LookupError):
    """No transaction that touched this account stands there."""


class Bodies:
    """Raw transactions by block and index, through the journal."""

    def __init__(self, read_body: ReadBody) -> None:
        self._read_body = read_body
        self._kept: OrderedDict[int, list[bytes]] = OrderedDict()

    def of_batch(self, position: int) -> list[bytes]:
        """Return the raw transactions of the body at this position in the journal."""
        kept = self._kept.get(position)
        if kept is None:
            kept = self._kept[position] = transactions_of(self._read_body(position))
            if len(self._kept) > BODIES_KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(position)
        return kept

    def raw(self, record: BlockRecord, index: int) -> bytes:
        """Return transaction `index` of a block."""
        for batch in record.batches:
            if index < batch.transactions:
                return self.of_batch(batch.position)[index]
            index -= batch.transactions
        raise UnknownPosition(f"block {record.block.height} has no transaction there")


def find(blocks: Blocks, bodies: Bodies, position: int) -> FoundTransaction:
    """Return the charged transaction at this position; raise UnknownPosition."""
    height, index = place_of(position)
    record, rows = blocks.block(height), blocks.rows(height)
    if record is None or rows is None or index >= len(rows.outcomes):
        raise UnknownPosition(f"there is no transaction {index} in block {height}")
    outcome = Outcome(rows.outcomes[index])
    if not outcome.charged:
        raise UnknownPosition(f"transaction {index} of block {height} was skipped")
    raw = bodies.raw(record, index)
    return FoundTransaction(
        transaction_hash(raw),
        raw,
        decode_transaction(raw),
        outcome,
        position,
        height,
        index,
        record.block.time_ms,
        record.digest,
    )


def walk(
    blocks: Blocks, bodies: Bodies, address: bytes, last: int, limit: int, before: int | None
) -> list[FoundTransaction]:
    """Return up to `limit` transactions that touched the account, newest first; it ends where blocks do.

    `last` is the position in the account's record; `before` the position of the last one of an earlier page.
    Raise UnknownPosition if `before` is not one of this account's.
    """
    position = last
    if before is not None:
        position = _before(blocks, find(blocks, bodies, before), address)
    found: list[FoundTransaction] = []
    kept = position_of(blocks.first, 0)
    while position != NO_POSITION and position >= kept and len(found) < min(limit, HISTORY_MAX):
        item = find(blocks, bodies, position)
        found.append(item)
        position = _before(blocks, item, address)
    return found


def _before(blocks: Blocks, item: FoundTransaction, address: bytes) -> int:
    rows = blocks.rows(item.height)
    assert rows is not None, f"block {item.height} lost its rows"
    if item.transaction.sender == address:
        return rows.previous_of(item.index, 0)
    if item.outcome is Outcome.EXECUTED:
        for party, operation in enumerate(item.transaction.operations, start=1):
            if operation.to == address:
                return rows.previous_of(item.index, party)
    raise UnknownPosition(f"transaction {item.index} of block {item.height} did not touch the account")
