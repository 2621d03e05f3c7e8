"""What executing a block gave, for those who tell clients and peers of it."""

import msgspec

from prsm_node.ledger.execution import Executed
from prsm_node.ledger.outcomes import FIRST_UNCHARGED, Outcome, Receipt


class Execution(msgspec.Struct, frozen=True):
    """What executing a block gave."""

    height: int
    digest: bytes
    state_root: bytes
    """After the block."""
    time_ms: int
    executed: Executed

    @property
    def transactions(self) -> int:
        """How many the block holds, skipped ones included."""
        return len(self.executed.hashes)

    @property
    def charged(self) -> int:
        """How many paid their fee, hence have a receipt for good."""
        return sum(1 for outcome in self.executed.outcomes if outcome < FIRST_UNCHARGED)

    @property
    def ahead(self) -> list[bytes]:
        """The hashes of those whose predecessors were missing, which may be ordered again."""
        executed = self.executed
        if Outcome.NONCE_AHEAD not in executed.outcomes:
            return []
        pairs = zip(executed.hashes, executed.outcomes, strict=True)
        return [digest for digest, outcome in pairs if outcome == Outcome.NONCE_AHEAD]

    @property
    def receipts(self) -> list[Receipt]:
        """One a transaction, in order of execution; those not charged may be ordered again."""
        return self.executed.receipts

    @property
    def nonces(self) -> dict[bytes, int]:
        """The next nonce of each sender that the block moved."""
        return self.executed.nonces
