"""What is to happen at a time of the virtual clock: one task for all of it, in order."""

import heapq
from collections.abc import Callable
from math import ceil

import trio

GRID_S = 0.0005
"""Times are rounded up to it: what falls together costs one jump of the clock."""


class Future:
    """Give it a task: `run`."""

    def __init__(self) -> None:
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._earlier = trio.Event()
        self._next_s = 0.0

    @property
    def now_ms(self) -> float:
        """Since the simulation began."""
        return trio.current_time() * 1_000

    def at(self, delay_ms: float, act: Callable[[], None]) -> None:
        """Have `act` called after so long; it may not wait."""
        at_s = ceil((trio.current_time() + delay_ms / 1_000) / GRID_S) * GRID_S
        self._count += 1
        heapq.heappush(self._queue, (at_s, self._count, act))
        if at_s < self._next_s:
            self._earlier.set()

    async def wait(self, delay_ms: float) -> None:
        over = trio.Event()
        self.at(delay_ms, over.set)
        await over.wait()

    async def run(self) -> None:
        """Call what is due, until cancelled."""
        queue = self._queue
        while True:
            self._earlier = trio.Event()
            self._next_s = queue[0][0] if queue else float("inf")
            with trio.move_on_at(self._next_s):
                await self._earlier.wait()
            while queue and queue[0][0] <= trio.current_time():
                heapq.heappop(queue)[2]()
