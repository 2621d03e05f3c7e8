"""When a proposer may make its block: its clock past the parent's time (Blocks 3), a pause between blocks
that order much, and patience with peers that lag (Agreement 8)."""

from consensus.chain import Chain
from consensus.quorum import is_third
from consensus.rules import Rules
from consensus.validators import ValidatorSet


class Pacing:
    """What bears on the wait: how much blocks order, and how far the other validators are."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._work = 0
        """Transactions a block, averaged over the last few."""
        self._peer_heights: dict[bytes, int] = {}
        self._slowed_at: int | None = None

    def block_executed(self, transactions: int) -> None:
        """A block ordered so many."""
        self._work = (3 * self._work + transactions + 3) // 4

    def peer_reached(self, validator: bytes, height: int, validators: ValidatorSet) -> None:
        """A validator has executed this height."""
        if validators.power(validator) > 0:
            self._peer_heights[validator] = max(height, self._peer_heights.get(validator, 0))

    def wait_ms(self, round_: int, chain: Chain, validators: ValidatorSet, now_ms: int) -> int:
        """Return how long the block after the chain's last is to wait; 0 when it may be made now.

        For peers that lag it waits once a height: to be asked again then.
        """
        if now_ms <= chain.time_ms:
            return chain.time_ms - now_ms + 1
        paced_ms = chain.time_ms + self._rules.pace_ms - now_ms
        if round_ == 0 and self._work >= self._rules.much and paced_ms > 0:
            return paced_ms
        height = chain.height + 1
        if self._slowed_at != height and self._peers_lag(chain.height, validators):
            self._slowed_at = height
            return self._rules.slow_down_ms
        return 0

    def _peers_lag(self, height: int, validators: ValidatorSet) -> bool:
        floor = height - self._rules.lag_max
        power = sum(validators.power(key) for key, reached in self._peer_heights.items() if reached < floor)
        return is_third(power, validators.total)
