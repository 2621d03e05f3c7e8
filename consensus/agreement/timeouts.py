"""How long a round waits (arXiv:1807.04938, section III: timeouts grow with the round; PROTOCOL, Agreement
3).

The base comes from measured proposal-to-quorum times and is remembered across heights, so that a quick
network replaces a dead proposer quickly and a slow one isn't hurried. Growth within a height has no bound:
whatever the network's delay is, some round outlasts it.
"""

import msgspec

from consensus.timers import TimerKind

# A pause of the operating system or of the disk is commonly 100 ms; to take one for a dead proposer costs
# more than the wait. So the first timeouts of an idle, quick network are 500 ms (propose) and 250 ms.
PROPOSE_FLOOR_MS = 500
VOTE_FLOOR_MS = 250
RESEND_MS = 500
# A faulty proposer can stretch what is measured: by so much at most, and each good height takes back an
# eighth.
MEASURED_MAX_MS = 20_000
# What one height may add, on top of doubling. A height that waited 5 s for a quorum to come back says nothing
# of the network; taken in whole, it would have the next dead proposer waited for 20 s. A network that
# did slow down is still met: by the growth within a height at once, by this from 0 to 20 s in eight heights.
RISE_MS = 250


class Timeouts(msgspec.Struct, frozen=True):
    """The waits of one node. Immutable: `observed` returns the next ones."""

    measured_ms: int = 0
    """The smoothed time from a proposal's arrival to its quorum: up by doubling, down by eighths."""
    last_ms: int = 0
    """What the last height took."""

    def delay_ms(self, kind: TimerKind, round_: int) -> int:
        """Return the wait of a PROPOSE, PREVOTE or PRECOMMIT timer in this round: linear in it, without
        bound.

        It grows by the same for all. What nodes measure differs, by a factor of ten between one that was
        restarted and one that saw messages lost; growing in proportion, the quick one would leave every round
        before the slow ones come to it.
        """
        floor, measured = (
            (PROPOSE_FLOOR_MS, 4 * self.measured_ms)
            if kind is TimerKind.PROPOSE
            else (VOTE_FLOOR_MS, 2 * self.measured_ms)
        )
        return floor + measured + floor * round_ // 2

    def resend_ms(self, times: int) -> int:
        """Return when to send again what was sent `times` times again: later and later, at most each 2 s.

        Not by what was measured: where resending is what carries a height, its own delay would be measured
        and grow without end.
        """
        return RESEND_MS * min(times + 1, 4)

    def observed(self, elapsed_ms: int) -> "Timeouts":
        """Take in how long a proposal took to its quorum. One slow height may be a lost message that was sent
        again: only a second one in a row says that the network is slow."""
        slow_ms = min(max(elapsed_ms, 0), MEASURED_MAX_MS)
        elapsed = min(slow_ms, self.last_ms, 2 * self.measured_ms + RISE_MS)
        return Timeouts(max(elapsed, self.measured_ms - (self.measured_ms + 7) // 8), slow_ms)
