"""When the state is committed: often where that is cheap, rarely under load, at once when much is waiting.

A commit costs about as much for ten transactions as for a thousand, and what it lags by only lengthens a
restart: durability is the journal's.
"""

from collections.abc import Callable
from typing import Final

COMMIT_AFTER_S: Final = 1.0
COMMIT_AFTER_TRANSACTIONS: Final = 4_000
# A node that catches up executes 100,000 a second: it commits some times a second, and not each 40 ms.
COMMIT_SPACED_S: Final = 0.25
COMMIT_AT_ONCE_TRANSACTIONS: Final = 32_768
# Below this many transactions since the last commit began, a commit costs less than anyone would notice, and
# whoever reads LMDB from another process sees each block at once.
LIGHT_TRANSACTIONS: Final = 64
LIGHT_AFTER_S: Final = 0.02
# More blocks than that since the last one are those of a node that catches up: empty ones wait as well.
LIGHT_BLOCKS: Final = 4
# About 25 MB of changed buckets and pending rows; a node whose disk cannot follow has to wait here.
UNCOMMITTED_TRANSACTIONS_MAX: Final = 65_536


class CommitPace:
    """Counts what was executed since the last commit began."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._transactions = 0
        self._began_at = clock()

    def executed(self, transactions: int) -> None:
        self._transactions += transactions

    def begin(self) -> int:
        """A commit begins; return how many transactions are in it."""
        taken, self._transactions = self._transactions, 0
        self._began_at = self._clock()
        return taken

    def failed(self, taken: int) -> None:
        """What a commit had taken waits for the next one."""
        self._transactions += taken

    def due(self, blocks: int) -> bool:
        """Whether now is the moment, with so many blocks waiting: after each block at light load, else each
        second or 4,000 transfers; while catching up more rarely."""
        since_s = self._clock() - self._began_at
        return (
            (self._transactions >= COMMIT_AFTER_TRANSACTIONS and since_s >= COMMIT_SPACED_S)
            or self._transactions >= COMMIT_AT_ONCE_TRANSACTIONS
            or since_s >= COMMIT_AFTER_S
            or (
                self._transactions <= LIGHT_TRANSACTIONS
                and blocks <= LIGHT_BLOCKS
                and since_s >= LIGHT_AFTER_S
            )
        )

    @property
    def overloaded(self) -> bool:
        """Whether so much waits for the disk that the node must await a commit before it executes more."""
        return self._transactions >= UNCOMMITTED_TRANSACTIONS_MAX
