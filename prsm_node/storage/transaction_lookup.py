"""Transactions of decided blocks: by hash, by account, by height."""

from collections.abc import Callable
from typing import Final

from prsm_node.ledger.accounts import Account
from prsm_node.ledger.outcomes import Outcome
from prsm_node.storage import history
from prsm_node.storage.blocks import BlockStore
from prsm_node.storage.history import Bodies, FoundTransaction, UnknownPosition
from prsm_node.storage.transaction_index import TransactionIndex

HISTORY_PAGE: Final = 50


class TransactionLookup:
    """Reads only; knows what is executed, committed or not.

    Args:
        account: as of the last executed block.
    """

    def __init__(
        self,
        blocks: BlockStore,
        bodies: Bodies,
        index: TransactionIndex,
        account: Callable[[bytes], Account | None],
    ) -> None:
        self._blocks = blocks
        self._bodies = bodies
        self._index = index
        self._account = account

    def raw(self, height: int) -> list[bytes]:
        """Return a block's transactions in order of execution, skipped ones too; none for no block."""
        record = self._blocks.block(height)
        if record is None:
            return []
        return [raw for batch in record.batches for raw in self._bodies.of_batch(batch.position)]

    def outcomes(self, height: int) -> list[Outcome]:
        """Return what became of each transaction of a block, in order of execution."""
        rows = self._blocks.rows(height)
        return [] if rows is None else [Outcome(outcome) for outcome in rows.outcomes]

    def find(self, digest: bytes) -> FoundTransaction | None:
        """Return the charged transaction of this hash, None if there is none."""
        for position in self._index.candidates(digest):
            try:
                found = history.find(self._blocks, self._bodies, position)
            except UnknownPosition:
                continue
            if found.hash == digest:
                return found
        return None

    def history(
        self, address: bytes, limit: int = HISTORY_PAGE, before: int | None = None
    ) -> list[FoundTransaction]:
        """Return the account's transactions, newest first; `before`: the last position of the page before.

        Raise UnknownPosition if `before` is not one of this account's.
        """
        account = self._account(address)
        if account is None:
            return []
        return history.walk(self._blocks, self._bodies, address, account.last, limit, before)
