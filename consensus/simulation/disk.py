"""A journal that is durable in the order of its writes, and loses its unsynced end in a crash."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from consensus.simulation.chance import Chance


class Write(NamedTuple):
    keep: Callable[[], None]
    """Make it part of what a restart finds."""
    then: Callable[[], None]
    """Go on, now that it is durable."""


class Disk:
    def __init__(self, owner: int, chance: Chance, at: Callable[[float, Callable[[], None]], None]) -> None:
        self._owner = owner
        self._chance = chance
        self._at = at
        self._queue: deque[Write] = deque()
        self._life = 0
        self._busy = False
        self.slowed = 1

    def write(self, keep: Callable[[], None], then: Callable[[], None]) -> None:
        self._queue.append(Write(keep, then))
        if not self._busy:
            self._sync()

    def _sync(self) -> None:
        self._busy = True
        life, count = self._life, len(self._queue)
        takes_ms = self._chance.between(("sync", self._owner), 0.2, 2) * self.slowed
        self._at(takes_ms, lambda: self._synced(life, count))

    def _synced(self, life: int, count: int) -> None:
        if life != self._life:
            return
        done = [self._queue.popleft() for _ in range(count)]
        for write in done:
            write.keep()
        for write in done:
            if life == self._life:
                write.then()
        if life == self._life:
            self._busy = False
            if self._queue:
                self._sync()

    def crash(self) -> int:
        """Lose what was not synced: the first few writes may have reached the disk all the same, the next is
        torn, which the journal's checksum makes as good as none. Return how many were lost."""
        kept = self._chance.one_of(("torn", self._owner), len(self._queue) + 1)
        for _ in range(kept):
            self._queue.popleft().keep()
        lost = len(self._queue)
        self._queue.clear()
        self._life += 1
        self._busy = False
        return lost
