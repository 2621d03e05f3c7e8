"""What a run keeps an eye on, second by second: heights of all nodes, and their memory; bounded."""

from collections.abc import Sequence
from typing import Final

from prsm_node.bench.processes import own_memory_mb
from prsm_node.bench.report import percentile
from prsm_node.chaos.report import Memory

HEIGHTS_EVERY_S: Final = 0.5
MEMORY_EVERY_S: Final = 10.0
SERIES_MAX: Final = 120
WARM_S: Final = 600.0
"""Before it memory may grow: caches fill. A third of the run where that is shorter."""
HIGH: Final = 0.9
"""Of a quarter's samples: who was killed lately is small again, and says nothing of growth."""
QUARTER_MIN: Final = 2
"""Samples in a quarter, or nothing is said of growth."""


class Vitals:
    """Series of (seconds since the begin, value) for each node."""

    def __init__(self, names: Sequence[str], seconds: float) -> None:
        self.warm_s = min(WARM_S, seconds / 3)
        self.heights: list[tuple[float, tuple[int, ...]]] = []
        self._names = names
        self._memory: list[list[tuple[float, float]]] = [[] for _ in names]
        self._memory_every_s = max(1.0, min(MEMORY_EVERY_S, seconds / 30))
        # A picture is 1,200 points wide: more is not seen.
        self._heights_every_s = max(HEIGHTS_EVERY_S, seconds / 1_200)
        self._heights_due = self._memory_due = 0.0

    def sample(self, now_s: float, heights: Sequence[int], pids: Sequence[int | None]) -> None:
        """Take what is due; a node that is down has no process."""
        if now_s >= self._heights_due:
            self._heights_due = now_s + self._heights_every_s
            self.heights.append((now_s, tuple(heights)))
        if now_s >= self._memory_due:
            self._memory_due = now_s + self._memory_every_s
            for place, pid in enumerate(pids):
                if pid is not None and (own := own_memory_mb(pid)) > 0:
                    self._memory[place].append((round(now_s, 1), round(own, 1)))

    def memory(self) -> tuple[Memory, ...]:
        """What each node took, and how it grew once it was warm."""
        return tuple(self._of(name, series) for name, series in zip(self._names, self._memory, strict=True))

    def _of(self, name: str, series: list[tuple[float, float]]) -> Memory:
        step = max(1, -(-len(series) // SERIES_MAX))
        shown = tuple(series[::step])
        warm = [mb for at, mb in series if at >= self.warm_s]
        quarter = len(warm) // 4
        if quarter < QUARTER_MIN:
            return Memory(name, shown, None, None, None)
        first, last = (percentile(sorted(part), HIGH) for part in (warm[:quarter], warm[-quarter:]))
        return Memory(name, shown, first, last, round(100 * (last - first) / first, 1))
