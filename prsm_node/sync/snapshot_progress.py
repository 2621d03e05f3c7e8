"""How far taking a snapshot over is: for logs, `status` and a person at a terminal."""

from collections import deque
from collections.abc import Callable
from enum import StrEnum

import msgspec

RATE_OVER_S = 5.0


class Phase(StrEnum):
    LOOKING = "looking"
    """For peers that offer one."""
    CHECKING = "checking"
    """What an earlier run fetched."""
    FETCHING = "fetching"
    RESTORING = "restoring"
    """Making it the state."""


class ProgressView(msgspec.Struct, frozen=True):
    """At one moment."""

    phase: Phase
    height: int
    """Of the snapshot; 0 while none is chosen."""
    bytes_done: int
    bytes_total: int
    """0 while none is chosen."""
    bytes_per_s: float
    """Over the last seconds; 0 outside of fetching."""
    seconds_left: float | None
    """None while nothing can be said."""
    resumed_bytes: int
    """What was here already when this run began."""

    def sentence(self) -> str:
        """Return it for a person, below 80 characters."""
        if self.phase is Phase.LOOKING:
            return "looking for peers that offer a snapshot"
        share = self.bytes_done / self.bytes_total if self.bytes_total else 0.0
        text = f"snapshot of height {self.height}: {self.phase} {share:.0%}"
        if self.phase is Phase.FETCHING:
            text += f" of {self.bytes_total / 1e6:.1f} MB, {self.bytes_per_s / 1e6:.1f} MB/s"
        return text if self.seconds_left is None else f"{text}, {self.seconds_left:.0f} s left"


class Progress:
    """`clock`: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._phase = Phase.LOOKING
        self._height = self._done = self._total = self._resumed = 0
        self._began = 0.0
        self._marks: deque[tuple[float, int]] = deque()
        """(when, done) of the last seconds."""

    def enter(self, phase: Phase, height: int, total: int, done: int = 0) -> None:
        """A phase begins: so many bytes of `total` are done."""
        self._phase, self._height, self._total, self._done = phase, height, total, done
        if phase is Phase.FETCHING:
            self._resumed = done
        self._began = self._clock()
        self._marks.clear()
        self._marks.append((self._began, done))

    def reach(self, done: int) -> None:
        """So many bytes of this phase are done."""
        self._done = done
        now = self._clock()
        self._marks.append((now, done))
        while len(self._marks) > 2 and self._marks[1][0] <= now - RATE_OVER_S:
            self._marks.popleft()

    def add(self, size: int) -> None:
        self.reach(self._done + size)

    def view(self) -> ProgressView:
        when, done = self._marks[0] if self._marks else (0.0, 0)
        seconds = self._clock() - when
        rate = (self._done - done) / seconds if seconds > 0 and self._marks else 0.0
        left = (self._total - self._done) / rate if rate > 0 and self._total else None
        fetching = self._phase is Phase.FETCHING
        return ProgressView(
            self._phase, self._height, self._done, self._total, rate if fetching else 0.0, left, self._resumed
        )
