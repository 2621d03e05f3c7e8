"""How many base units exist and where: a module of the state with a root of its own.

The treasury holds the fees until rewards pay them out. `in_accounts` is what accounts hold together; that all
adds up is asserted after every block.
"""

from hashlib import sha256

import msgspec

from prsm_node.ledger.transactions import SUPPLY_CAP


class Supply(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All in base units."""

    minted: int
    burned: int
    treasury: int
    in_accounts: int

    @property
    def root(self) -> bytes:
        return sha256(b"supply" + msgspec.msgpack.encode(self)).digest()

    def after(self, height: int, accounts_delta: int, fees: int) -> "Supply":
        """Return the supply after a block whose touched accounts changed by `accounts_delta` in sum."""
        after = Supply(self.minted, self.burned, self.treasury + fees, self.in_accounts + accounts_delta)
        after.check(height)
        return after

    def check(self, height: int) -> None:
        """Assert that nothing was made or lost."""
        exist = self.in_accounts + self.treasury
        assert exist == self.minted - self.burned, (
            f"height {height}: {exist} base units exist, {self.minted - self.burned} should"
        )
        assert 0 <= exist <= SUPPLY_CAP, f"height {height}: {exist} base units exist, the cap is {SUPPLY_CAP}"
        assert self.treasury >= 0, f"height {height}: the treasury holds {self.treasury}"
