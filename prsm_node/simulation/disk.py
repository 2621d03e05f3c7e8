"""The journal's hand on a simulated disk: durable in the order of its writes, each group after a while.

The file holds what is durable and nothing else. A kill loses what was queued, but for what the disk did on
its own: the first few writes may have reached it without anybody being told, and of the next a torn piece,
which others that follow it may even have overtaken.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path

from consensus.simulation.chance import Chance
from consensus.simulation.disk import Disk
from prsm_node.simulation.pipe import Side
from prsm_node.storage.journal_segments import segment_path
from prsm_node.storage.journal_writer import Queued, SegmentHand, Work

RESERVE_BYTES = 0
STEP_BYTES = 64 * 1024


class SimulatedWriter(SegmentHand):
    """Of one run of a process (journal_writer.Writer); `disk` outlives it."""

    def __init__(self, disk: Disk, side: Side, chance: Chance, directory: Path) -> None:
        super().__init__(directory, RESERVE_BYTES, STEP_BYTES, durable=False)
        self._disk, self._side, self._chance = disk, side, chance
        self._waiting: deque[Work] = deque()
        self._report: Callable[[], None] | None = None
        self._over = False

    def start(self, report: Callable[[], None]) -> None:
        self._report = report
        if self.done:
            report()

    def put(self, work: Work) -> None:
        self._side.step()
        if not self._over:
            self._waiting.append(work)
            self._disk.write(self._keep, self._told)

    def finished(self) -> deque[Queued]:
        return self.done

    async def stop(self) -> None:
        while not self._over and self._waiting:
            self._keep()
        self._over = True

    def kill(self) -> None:
        """The process ends here. What the disk holds from now on is what the next run finds."""
        self._disk.crash()
        self._over = True
        lost = [work for work in self._waiting if isinstance(work, Queued)]
        for place, work in enumerate(lost):
            if place and not self._chance.happens(("overtaken", self._side.number), 0.2):
                continue
            data = b"".join(work.buffers)
            if not place:
                data = data[: self._chance.one_of(("tear", self._side.number), len(data))]
            path = segment_path(self._directory, work.segment)
            if path.exists():
                with path.open("r+b") as file:
                    file.seek(work.offset)
                    file.write(data)

    def _keep(self) -> None:
        if not self._over and self._waiting and self.failure is None:
            self.perform((self._waiting.popleft(),))

    def _told(self) -> None:
        if not self._over and self._report is not None:
            self._report()
