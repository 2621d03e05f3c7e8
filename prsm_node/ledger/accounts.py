"""What the ledger needs of accounts, and the layout of their records, on which the state root rests.

Records have a fixed size and lie, by account number, sixteen to a bucket. Numbers are given in order of
creation: addresses can be ground into one bucket, numbers cannot. Accounts are never removed (PROTOCOL,
Joining), so a number is for ever.
"""

from struct import Struct
from typing import Final, Protocol

import msgspec

from prsm_node.ledger.positions import NO_POSITION

RECORD: Final = Struct("<33sQQQ")
"""Address, balance, nonce, position of the last transaction."""
NUMBERS: Final = Struct("<QQQ")
"""The same without the address."""
NUMBERS_OFFSET: Final = 33
RECORDS_PER_BUCKET: Final = 16
BUCKET_BYTES: Final = RECORD.size * RECORDS_PER_BUCKET


class Account(msgspec.Struct, frozen=True):
    address: bytes
    balance: int
    """Base units."""
    nonce: int
    """The nonce that its next transaction must have."""
    last: int = NO_POSITION
    """Position of the last transaction that touched it."""


class Entry:
    """An account as a block works on it; written back when the block is done.

    A plain mutable object: a frozen one for each of two accounts a transfer costs more than all the rest.
    """

    __slots__ = ("balance", "last", "nonce", "number")

    def __init__(self, number: int, balance: int, nonce: int, last: int) -> None:
        self.number = number
        self.balance = balance
        self.nonce = nonce
        self.last = last


class Accounts(Protocol):
    """Where accounts lie; storage hands one in."""

    def load(self, address: bytes) -> Entry | None:
        """Return the account's entry, or None if it has none."""

    def create(self, address: bytes) -> Entry:
        """Give an address its number and an empty record."""

    def store(self, entry: Entry) -> int:
        """Write an entry back; return by how much the balance that was stored changes."""
