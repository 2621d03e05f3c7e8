"""The timers of one height, and how long its proposal took to its quorum: what timeouts.py learns from."""

from consensus.agreement.timeouts import Timeouts
from consensus.effects import SetTimer
from consensus.timers import Timer, TimerKind


class HeightTimers:
    """How long each wait of this height is to last, and when its quorums came."""

    def __init__(self, height: int, timeouts: Timeouts) -> None:
        self._height = height
        self._timeouts = timeouts
        self._resent = 0
        self._resending = False
        self._polka_ms: int | None = None
        self._decided_ms: int | None = None

    def of_round(self, kind: TimerKind, round_: int) -> SetTimer:
        """Start a PROPOSE, PREVOTE or PRECOMMIT timer."""
        return SetTimer(Timer(kind, self._height, round_), self._timeouts.delay_ms(kind, round_))

    def resend(self) -> list[SetTimer]:
        """Start the resend timer, which is of no round, unless it runs: put off by each vote, it would not
        run out while rounds are short, and who was cut off would lack what they all rest on."""
        if self._resending:
            return []
        self._resending = True
        return [self._resend_later()]

    def resent(self) -> SetTimer:
        """What was due went again: start the resend timer, for longer."""
        self._resent += 1
        return self._resend_later()

    def _resend_later(self) -> SetTimer:
        return SetTimer(Timer(TimerKind.RESEND, self._height), self._timeouts.resend_ms(self._resent))

    def polka_seen(self, now_ms: int) -> None:
        """Line 36 fired."""
        self._polka_ms = now_ms

    def decided(self, now_ms: int) -> None:
        """Line 49 fired."""
        self._decided_ms = now_ms

    def measured(self, arrived_ms: int | None, now_ms: int) -> Timeouts:
        """Return the timeouts for the next height: ours, with this height's proposal-to-quorum time taken
        in. `arrived_ms` is the decided proposal's; None where a certificate told of the decision."""
        if arrived_ms is None or self._decided_ms is None:
            return self._timeouts
        seen_ms = self._polka_ms
        polka_ms = seen_ms if seen_ms is not None and seen_ms >= arrived_ms else arrived_ms
        return self._timeouts.observed(max(polka_ms - arrived_ms, min(now_ms, self._decided_ms) - polka_ms))
