"""What became of a transaction in a block (PROTOCOL, Blocks 4): final means executed, so a receipt says
it."""

from enum import IntEnum
from typing import Final

import msgspec


class Outcome(IntEnum):
    """Numbers are stored with blocks: one is never used again for another."""

    EXECUTED = 0
    OVERDRAWN = 1
    RECIPIENT_UNKNOWN_KIND = 2
    FEE_BELOW_MINIMUM = 3
    NONCE_SPENT = 16
    NONCE_AHEAD = 17
    FEE_NOT_COVERED = 18
    MALFORMED = 19
    SIGNATURE_INVALID = 20

    @property
    def charged(self) -> bool:
        """Whether it paid its fee and spent its nonce. One that did not may be ordered again."""
        return self < FIRST_UNCHARGED

    @property
    def reason(self) -> str:
        return REASONS[self]


FIRST_UNCHARGED: Final = Outcome.NONCE_SPENT

REASONS: Final = {
    Outcome.EXECUTED: "executed",
    Outcome.OVERDRAWN: "the balance did not cover amounts and fee; the fee was paid",
    Outcome.RECIPIENT_UNKNOWN_KIND: "a recipient's key type is unknown; the fee was paid",
    Outcome.FEE_BELOW_MINIMUM: "the fee is below the least one; what was offered was paid",
    Outcome.NONCE_SPENT: "the nonce was spent before; nothing was charged",
    Outcome.NONCE_AHEAD: "earlier transactions of the sender are missing; nothing was charged",
    Outcome.FEE_NOT_COVERED: "the balance did not cover the fee; nothing was charged",
    Outcome.MALFORMED: "these bytes are no transaction; nothing was charged",
    Outcome.SIGNATURE_INVALID: "the signature is invalid; nothing was charged",
}


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What became of one transaction of one block."""

    hash: bytes
    outcome: Outcome
    position: int
    """See positions.py; it orders all transactions of a chain."""
