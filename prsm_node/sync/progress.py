"""How far catching up is, how fast it goes and how long it takes yet."""

from collections import deque
from typing import Final

import msgspec

# The rate is that of so long: steady enough to read, quick enough to show a peer that fell away.
WINDOW_S: Final = 10.0
SAMPLE_S: Final = 0.5


class SyncProgress(msgspec.Struct, frozen=True):
    """At one moment."""

    phase: str
    """`headers`, walked down from the trusted block, or `blocks`."""
    done: int
    """Headers, or the height executed."""
    total: int
    per_second: float
    """Lately."""
    seconds_left: float | None
    """None where that can't be told."""
    peers: int
    """That have a question of ours open."""


class Progress:
    """Fed with (now, done), gives rates. The clock is handed in, seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def begin(self) -> None:
        """Something else is counted from here on."""
        self._samples.clear()

    def note(self, now: float, done: int) -> None:
        """So much is done by now."""
        if self._samples and now - self._samples[-1][0] < SAMPLE_S:
            return
        self._samples.append((now, done))
        while now - self._samples[0][0] > WINDOW_S and len(self._samples) > 2:
            self._samples.popleft()

    def per_second(self, now: float, done: int) -> float:
        """Return the rate up to now; 0 before anything can be said."""
        if not self._samples:
            return 0.0
        began, begun = self._samples[0]
        return max(0.0, (done - begun) / (now - began)) if now > began else 0.0

    def seconds_left(self, now: float, done: int, left: int) -> float | None:
        """Return how long the rest takes at this rate."""
        rate = self.per_second(now, done)
        return left / rate if rate > 0 else None
