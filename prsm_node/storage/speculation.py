"""A block executed ahead of its decision (PROTOCOL, Blocks 5), in memory of its own.

The accounts are only read: what the block would create and write is noted, in order, and written when the
block is decided. To drop a speculation is to forget this object; there is nothing to undo.
"""

import msgspec

from prsm_node.ledger.accounts import Accounts, Entry
from prsm_node.ledger.execution import Decoded, Executed


class Overlay:
    """The ledger's Accounts for one block: reads go through, creations and writes stay here."""

    def __init__(self, accounts: Accounts, count: int) -> None:
        self._accounts = accounts
        self._count = count
        self._created: dict[bytes, Entry] = {}
        self._balances: dict[int, int] = {}
        """As stored, of each account loaded, by its number."""
        self._stored: list[Entry] = []

    def load(self, address: bytes) -> Entry | None:
        entry = self._created.get(address)
        if entry is None and (entry := self._accounts.load(address)) is not None:
            self._balances[entry.number] = entry.balance
        return entry

    def create(self, address: bytes) -> Entry:
        entry = self._created[address] = Entry(self._count + len(self._created), 0, 0, 0)
        self._balances[entry.number] = 0
        return entry

    def store(self, entry: Entry) -> int:
        self._stored.append(entry)
        return entry.balance - self._balances[entry.number]

    def write(self, accounts: Accounts) -> int:
        """Carry out what was noted; return by how much all stored balances changed in sum."""
        for address, entry in self._created.items():
            number = accounts.create(address).number
            assert number == entry.number, f"account {number} was {entry.number} when it was speculated on"
        return sum(accounts.store(entry) for entry in self._stored)


class Speculation(msgspec.Struct, frozen=True):
    """What a block will give if it is decided on top of `parent`."""

    digest: bytes
    parent: bytes
    bodies: list[Decoded]
    executed: Executed
    overlay: Overlay
