"""A simulated machine's disk, and the journal's hand on it.

The journal is durable in the order of its writes, each group after a while; its file holds what is durable
and nothing else. A kill loses what was queued, but for what the disk did on its own: the first few writes may
have reached it without anybody being told, and of the next a torn piece, which others that follow it may even
have overtaken.

A disk may be full or fail for a while. The kernel refuses the writes then, in the middle of storage's own
code: a limit on the size of files (setrlimit(2), RLIMIT_FSIZE) holds for as long as that code runs, so that
LMDB, index, snapshots and journal meet a system call that fails and not a stand-in for one.
"""

import errno
import os
import resource
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from consensus.simulation.chance import Chance
from consensus.simulation.disk import Disk
from consensus.simulation.schedule import BadDisk
from prsm_node.simulation.pipe import Side
from prsm_node.storage.errors import StorageError
from prsm_node.storage.journal_segments import End, segment_path
from prsm_node.storage.journal_writer import Queued, SegmentFile, SegmentHand, Work

RESERVE_BYTES = 0
STEP_BYTES = 64 * 1024


class MachineDisk(Disk):
    """It outlives the processes of its machine."""

    bad: BadDisk | None = None
    """What is wrong with it now."""
    refused = 0
    """How often it failed somebody."""

    @contextmanager
    def writing(self, *, journal: bool = False) -> Iterator[None]:
        """What is written within meets what is wrong with the disk. It may not wait meanwhile: the limit is
        the whole process'."""
        bad = self.bad
        if bad is None:
            yield
            return
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        if bad.how == "full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (bad.room_bytes, before[1]))
        elif not journal:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            yield
        except (OSError, StorageError):
            self.refused += not journal
            raise
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


class UnsureFile(SegmentFile):
    """A journal's segment on a disk that may refuse a write; `failed` is told of it. One that could not be
    synced is on the disk or not: who wrote it doesn't know."""

    def __init__(
        self, disk: MachineDisk, chance: Chance, number: int, directory: Path, failed: Callable[[], None]
    ) -> None:
        super().__init__(directory, RESERVE_BYTES, STEP_BYTES, durable=False)
        self._disk, self._chance, self._number, self._failed = disk, chance, number, failed

    def resume(self, number: int, end: End) -> None:
        """What nobody knows to be on the disk is written again, and refused as well as new records are: the
        daemon ends before it begins."""
        try:
            super().resume(number, end)
        except OSError:
            self._disk.refused += 1
            raise

    def write(self, offset: int, buffers: list[bytes]) -> None:
        bad = self._disk.bad
        try:
            if bad is None or bad.how == "full":
                super().write(offset, buffers)
                return
            if not self._chance.happens(("unsynced", self._number), 0.5):
                super().write(offset, buffers)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        except (OSError, StorageError):
            self._disk.refused += 1
            self._failed()
            raise


class SimulatedWriter(SegmentHand):
    """Of one run of a process (journal_writer.Writer); `disk` outlives it. `failed` is told of its end by a
    write that failed."""

    def __init__(
        self,
        disk: MachineDisk,
        side: Side,
        chance: Chance,
        directory: Path,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(directory, RESERVE_BYTES, STEP_BYTES, durable=False)
        self.file = UnsureFile(disk, chance, side.number, directory, failed)
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
        while not self._over and self._waiting and self.failure is None:
            self._keep()
        self._over = True

    def kill(self) -> None:
        """The process ends here. What the disk holds from now on is what the next run finds."""
        self._disk.crash()
        self._over = True
        if self.failure is not None:
            return  # nothing was handed to the disk after what it refused
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

    def perform(self, work: Iterable[Work]) -> None:
        with self._disk.writing(journal=True):
            super().perform(work)

    def _keep(self) -> None:
        if not self._over and self._waiting and self.failure is None:
            self.perform((self._waiting.popleft(),))

    def _told(self) -> None:
        if not self._over and self._report is not None:
            self._report()
