"""The timers a replica asks for. Setting a timer again moves it; one that fires late does no harm."""

from enum import IntEnum

import msgspec


class TimerKind(IntEnum):
    PROPOSE = 1
    """Line 57."""
    PREVOTE = 2
    """Line 61."""
    PRECOMMIT = 3
    """Line 65."""
    RESEND = 4
    """PROTOCOL, Agreement 2; started by an own vote."""
    HEARTBEAT = 5
    """A block is due although nothing is waiting (Blocks 6)."""
    CLOCK = 6
    """The clock has passed the parent's time, or a slowed proposer may go on (Blocks 3, Agreement 8)."""
    LANE = 7
    """Own batches that lack a certificate are sent again."""
    FORWARD = 8
    """Polkas and commits go to who has not shown that it knows them (Agreement 1)."""


class Timer(msgspec.Struct, frozen=True):
    kind: TimerKind
    height: int = 0
    round: int = 0
