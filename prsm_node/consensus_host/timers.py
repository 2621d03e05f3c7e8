"""The replica's timers under trio: one task sleeps until the next deadline; setting a timer again moves
it."""

import heapq
from collections.abc import Callable

import trio

from consensus.timers import Timer


class Timers:
    """Bounded by the kinds of timers: those of past heights fire once and are gone."""

    def __init__(self, expired: Callable[[Timer], None]) -> None:
        self._expired = expired
        self._deadlines: dict[Timer, float] = {}
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = 0
        self._changed = trio.Event()

    def set(self, timer: Timer, delay_ms: int) -> None:
        deadline = trio.current_time() + delay_ms / 1000
        self._deadlines[timer] = deadline
        self._count += 1
        heapq.heappush(self._heap, (deadline, self._count, timer))
        if self._heap[0][2] is timer:
            self._changed.set()

    async def run(self) -> None:
        """Own the sleeping; ends only by cancellation."""
        while True:
            self._changed = trio.Event()
            if not self._heap:
                await self._changed.wait()
                continue
            with trio.move_on_at(self._heap[0][0]):
                await self._changed.wait()
            self._fire(trio.current_time())

    def _fire(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            deadline, _, timer = heapq.heappop(self._heap)
            if self._deadlines.get(timer) == deadline:
                del self._deadlines[timer]
                self._expired(timer)
