"""How far taking a snapshot over is: for logs, `status` and a person at a terminal."""

from collections.abc import Callable
from enum import StrEnum

import msgspec

from prsm_node.sync.progress import Progress as Rate


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
        self._rate = Rate()

    def enter(self, phase: Phase, height: int, total: int, done: int = 0) -> None:
        """A phase begins: so many bytes of `total` are done."""
        self._phase, self._height, self._total, self._done = phase, height, total, done
        if phase is Phase.FETCHING:
            self._resumed = done
        self._rate.begin()
        self._rate.note(self._clock(), done)

    def reach(self, done: int) -> None:
        """So many bytes of this phase are done."""
        self._done = done
        self._rate.note(self._clock(), done)

    def add(self, size: int) -> None:
        self.reach(self._done + size)

    def view(self) -> ProgressView:
        now = self._clock()
        left = self._rate.seconds_left(now, self._done, self._total - self._done) if self._total else None
        fetching = self._phase is Phase.FETCHING
        rate = self._rate.per_second(now, self._done) if fetching else 0.0
        return ProgressView(self._phase, self._height, self._done, self._total, rate, left, self._resumed)
