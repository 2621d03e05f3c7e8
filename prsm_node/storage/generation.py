"""One generation of the state on its way to the disk, and the head by which it is found whole again."""

from pathlib import Path
from typing import Annotated, Final

import lmdb
import msgspec

from consensus.bounds import Digest
from prsm_node.ledger.lanes import Lanes
from prsm_node.ledger.roster import Roster
from prsm_node.ledger.supply import Supply
from prsm_node.storage.accounts import FrozenAccounts
from prsm_node.storage.blocks import FrozenBlocks
from prsm_node.storage.environment import Environment
from prsm_node.storage.errors import StorageError

SCHEMA: Final = 3
HEAD_KEY: Final = b"head"
GENESIS_KEY: Final = b"genesis"
"""Its hash and, where the state began with it, its root."""
OWN: Final = b"own/"
"""Prefix of the keys that callers keep beside the state."""


class Head(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The record by which a committed state is found whole again."""

    schema: int
    height: Annotated[int, msgspec.Meta(ge=0)]
    digest: Digest
    """Of the block at `height`; of the genesis at 0."""
    time_ms: int
    root: Digest
    accounts: Annotated[int, msgspec.Meta(ge=0)]
    supply: Supply
    lanes: Lanes
    roster: Roster

    @property
    def others(self) -> tuple[bytes, ...]:
        """The roots of the state's modules besides the accounts."""
        return self.supply.root, self.lanes.root, self.roster.root


class Frozen(msgspec.Struct, frozen=True):
    """One generation of the state on its way to the disk."""

    head: Head
    accounts: FrozenAccounts
    blocks: FrozenBlocks
    meta: dict[bytes, bytes]
    transactions: int

    @property
    def bytes_expected(self) -> int:
        return self.accounts.bytes_expected + self.blocks.bytes_expected

    def put(self, transaction: lmdb.Transaction, environment: Environment) -> None:
        self.accounts.put(transaction, environment)
        self.blocks.put(transaction, environment)
        for key, value in self.meta.items():
            transaction.put(OWN + key, value, db=environment.meta)
        transaction.put(HEAD_KEY, msgspec.msgpack.encode(self.head), db=environment.meta)


def read_head(stored: bytes, directory: Path) -> Head:
    """Decode a stored head; raise StorageError where another version wrote it."""
    try:
        head = msgspec.msgpack.decode(stored, type=Head)
    except (msgspec.ValidationError, msgspec.DecodeError):
        head = None
    if head is None or head.schema != SCHEMA:
        raise StorageError(
            f"the state in {directory} was written by another version of this program;"
            " delete this directory, it is made again from the journal"
        )
    return head
