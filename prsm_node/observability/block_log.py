"""What the log says of final blocks: a line every ten seconds, so that an hour of it can still be read."""

import math
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger("node")

TELL_S: Final = 10.0


class BlockLog:
    """Gathers blocks and tells of them together, each on its own where they come slower than TELL_S.

    The level `debug` has a line for each. `clock` is monotonic, seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told_s = -math.inf
        self._blocks = self._transactions = self._later_rounds = self._late_ms = 0

    def add(self, height: int, transactions: int, round_: int, digest: bytes, late_ms: int) -> None:
        """Take in a final block; `late_ms` is from its time until it was final here."""
        short = digest.hex()[:16]
        log.debug(
            "block", height=height, transactions=transactions, round=round_, hash=short, late_ms=late_ms
        )
        self._blocks += 1
        self._transactions += transactions
        self._later_rounds += int(round_ > 0)
        self._late_ms = max(self._late_ms, late_ms)
        now_s = self._clock()
        if now_s - self._told_s < TELL_S:
            return
        log.info(
            "blocks",
            height=height,
            hash=short,
            blocks=self._blocks,
            transactions=self._transactions,
            later_rounds=self._later_rounds,
            late_ms=self._late_ms,
        )
        self._told_s = now_s
        self._blocks = self._transactions = self._later_rounds = self._late_ms = 0
