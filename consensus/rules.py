"""What all validators of a network agree on beside the protocol itself, from its genesis."""

import msgspec


class Rules(msgspec.Struct, frozen=True):
    window: int = 32
    """W: batches that a lane runs at most ahead of its committed tip (Lanes 4)."""
    advance_max: int = 32
    """K: batches by which one block advances a lane at most."""
    heartbeat_ms: int = 10_000
    """A block comes after this long even if there is nothing to order (Blocks 6)."""
    resend_ms: int = 500
    """Own batches without a certificate are sent again so often."""
    precision_ms: int = 500
    """By how much the clocks of honest validators differ at most (Blocks 3)."""
    delay_ms: int = 2_000
    """How late a timely proposal arrives at most, in round 0."""
    lag_max: int = 16
    """L: a proposer slows down while a third of the power lags by more heights (Agreement 8)."""
    slow_down_ms: int = 250
    pace_ms: int = 150
    """A proposer leaves at least so long between blocks that order much: a height costs 50 frames at four
    validators, whatever it holds, and all cores if nothing holds it back."""
    much: int = 16
    """Transactions a block, on average of the last few, from which blocks are paced."""
