"""What admission answers, what it is limited by, and what it needs of the ledger.

Admitted is not final: a transaction that is in no journalled batch yet is lost with this process, and its
client sends it again. Final means executed (Blocks 4).
"""

from enum import IntEnum
from typing import NamedTuple, Protocol

import msgspec

from prsm_node.ledger.transactions import Transaction


class Reason(IntEnum):
    """Why a transaction was taken or refused; counted by name."""

    ACCEPTED = 0
    MALFORMED = 1
    WRONG_SIGNATURE = 2
    NONCE_SPENT = 3
    NONCE_TOO_FAR = 4
    NONCE_TAKEN = 5
    """Another transaction of this sender and nonce waits already; the first one stays."""
    OVERDRAWN = 6
    """The balance does not cover amounts and fees of all that this sender has waiting."""
    FEE_TOO_LOW = 7
    DUPLICATE = 8
    FULL = 9
    SENDER_SHARE = 10
    SOURCE_SHARE = 11


class Admission(NamedTuple):
    hash: bytes
    accepted: bool
    reason: Reason


class Limits(msgspec.Struct, frozen=True):
    """Full means refused, by name: what was accepted is never pushed out."""

    # Ten seconds of the rate that must be reached; 50,000 transactions of 150 bytes take some 40 MB here.
    items_max: int = 50_000
    bytes_max: int = 32 << 20
    # One in so many may wait for a predecessor: it pays nothing until that comes, so that with more a few
    # accounts would keep out all others for as long as such are kept, for nothing.
    gapped_share: int = 4
    # Being checked: one second of a signature worker.
    checking_max: int = 20_000
    # What a sender, and a source (a link, the api), may hold however full the pool is.
    sender_items_min: int = 16
    source_items_min: int = 256
    hand_over_ms: int = 3_000
    """Without being seen in a certified batch for this long, a sender's transactions go to its next lane."""
    expire_ms: int = 600_000
    """A transaction whose predecessors do not come is dropped."""

    def gaps_full(self, items: int, size: int) -> bool:
        """Whether no more may wait for a predecessor than these, of so many bytes."""
        return items * self.gapped_share >= self.items_max or size * self.gapped_share >= self.bytes_max


class AccountView(Protocol):
    @property
    def balance(self) -> int:
        """Base units."""

    @property
    def nonce(self) -> int:
        """The next one to be executed."""


class LedgerView(Protocol):
    """The executed state, read for each transaction: must cost microseconds."""

    @property
    def fee_min(self) -> int:
        """Base units an operation."""

    @property
    def nonce_window(self) -> int:
        """How far ahead of its account a nonce may be."""

    def account(self, address: bytes) -> AccountView | None:
        """None where the address has no account."""


def cost(transaction: Transaction) -> int:
    """Base units that a transaction takes from its sender at most."""
    total = transaction.fee
    for operation in transaction.operations:
        total += operation.amount
    return total


def follows(transaction: Transaction, before: Transaction | None) -> bool:
    """Whether it is the same sender's next."""
    return before is not None and (before.sender, before.nonce + 1) == (transaction.sender, transaction.nonce)
