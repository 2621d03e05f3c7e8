"""What a link does to what it carries: nothing, a delay, a loss, a rate, or all of them; pure.

A condition is of one direction between two nodes. Packets keep their order, as on a line: jitter stretches
gaps and never overtakes.
"""

from random import Random
from typing import Annotated, Final

import msgspec
from msgspec import Meta

# Of one direction, waiting for their time: at 100 Mbit/s and 80 ms that is all in flight. More is dropped, as
# a router drops it.
WAITING_BYTES_MAX: Final = 1_048_576

Milliseconds = Annotated[float, Meta(ge=0, le=10_000)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Condition(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Of one direction of a link."""

    cut: bool = False
    delay_ms: Milliseconds = 0.0
    jitter_ms: Milliseconds = 0.0
    """Added to the delay, uniform from 0."""
    loss: Share = 0.0
    """Of the packets."""
    rate_kbit: Annotated[float, Meta(ge=0, le=10_000_000)] = 0.0
    """Kilobits a second; 0 is as fast as it goes."""


class Conditions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of all links, as a carrier is told them: one for all, and those that differ by (from, to)."""

    default: Condition = Condition()
    pairs: tuple[tuple[int, int, Condition], ...] = ()
    stopped: tuple[int, ...] = ()
    """Processes that stand still: if the keeper dies, the carrier lets them go on, so that they can end."""


class Line:
    """One direction of a link: when what comes now leaves at the other end."""

    def __init__(self) -> None:
        self.condition = Condition()
        self.waiting_bytes = 0
        """What was taken and has not left; whoever carries it counts it off."""
        self._free_at = 0.0
        self._last_at = 0.0

    def leaves_at(self, size: int, now: float, random: Random) -> float | None:
        """Return when a packet of `size` bytes leaves, in seconds as `now`; None where it is lost."""
        condition = self.condition
        if condition.cut or (condition.loss and random.random() < condition.loss):
            return None
        if self.waiting_bytes + size > WAITING_BYTES_MAX:
            return None
        return self.delayed(size, now, random)

    def delayed(self, size: int, now: float, random: Random) -> float:
        """Return when it leaves if nothing is lost: after what is before it, at the rate, and the delay."""
        condition = self.condition
        begins = max(now, self._free_at)
        if condition.rate_kbit:
            begins += size * 8 / (condition.rate_kbit * 1_000)
            self._free_at = begins
        delay_ms = condition.delay_ms
        if condition.jitter_ms:
            delay_ms += random.uniform(0.0, condition.jitter_ms)
        self._last_at = max(self._last_at, begins + delay_ms / 1_000)
        return self._last_at
