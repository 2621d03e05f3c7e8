"""The journal's hand on the disk: takes all that queued, makes it durable in one call.

One thread of its own, woken by the queue itself: what queued while a write was under way leaves with the next
one, without a turn of the event loop in between. RWF_DSYNC is write and fdatasync in one call, so that the
thread asks for the interpreter once and not twice. Space is allocated ahead in steps: a durable write into
allocated space takes 0.2 ms where one that grows the file takes 0.3, and a full disk shows before a record is
half written.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol

import trio

from prsm_node.storage.errors import StorageError
from prsm_node.storage.journal_segments import SEGMENT_HEADER, End, segment_header, segment_path

# Linux takes at most 1,024 buffers a call; more are joined first, which costs a copy.
BUFFERS_MAX = 1_024
AGAIN_BYTES = 1 << 20


class Queued(NamedTuple):
    """A record on its way to the disk."""

    segment: int
    offset: int
    buffers: tuple[bytes, ...]
    """Header and payload."""
    size: int
    then: Callable[[], None] | None


class NewSegment(NamedTuple):
    """The records that follow belong to this segment."""

    segment: int
    salt: int


class Drop(NamedTuple):
    """Delete these segments, oldest first."""

    paths: tuple[Path, ...]


Work = Queued | NewSegment | Drop


class SegmentFile:
    """The last segment, open for durable writes. Not safe for two threads."""

    def __init__(self, directory: Path, reserve_bytes: int, step_bytes: int, durable: bool) -> None:
        self._directory = directory
        self._reserve_bytes = reserve_bytes
        self._step_bytes = step_bytes
        self._flags = os.RWF_DSYNC if durable else 0
        self._durable = durable
        self._fd = -1
        self._end = 0
        self._allocated = 0

    def resume(self, number: int, end: End) -> None:
        """Go on after the last whole record; what follows it is cut off, durably. Raise OSError.

        What no record knows to be on the disk is written again: after a sync that failed the kernel has its
        pages still, shows them to who reads, and syncs them no more.
        """
        self._fd = os.open(segment_path(self._directory, number), os.O_RDWR | os.O_CLOEXEC)
        os.ftruncate(self._fd, end.offset)
        at = end.durable
        while at < end.offset:
            doubtful = os.pread(self._fd, min(AGAIN_BYTES, end.offset - at), at)
            at += os.pwritev(self._fd, [doubtful], at, self._flags)
        self._sync(self._fd)
        self.sync_directory()
        self._end = self._allocated = end.offset

    def create(self, number: int, salt: int) -> None:
        """Begin a segment, durable, its name too, before a record lies in it. Raise OSError, StorageError."""
        if self._fd >= 0:
            # Every byte of a segment that is not the last must be a record.
            os.ftruncate(self._fd, self._end)
            self._sync(self._fd)
            os.close(self._fd)
            self._fd = -1
        path = segment_path(self._directory, number)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._end = self._allocated = 0
        self.write(0, [segment_header(number, salt)])
        self.sync_directory()

    def write(self, offset: int, buffers: list[bytes]) -> None:
        """Return when the buffers are durable at `offset`, which is where the segment ends. Raise OSError."""
        assert offset == self._end, f"a record for {offset} of a segment that ends at {self._end}"
        size = sum(map(len, buffers))
        if offset + size > self._allocated:
            self._allocate(offset + size)
        if len(buffers) > BUFFERS_MAX:
            buffers = [b"".join(buffers)]
        written = os.pwritev(self._fd, buffers, offset, self._flags)
        if written < size:
            rest = memoryview(b"".join(buffers))[written:]
            while rest:
                written = os.pwritev(self._fd, [rest], offset + size - len(rest), self._flags)
                rest = rest[written:]
        self._end = offset + size

    def drop(self, paths: tuple[Path, ...]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)
        self.sync_directory()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def sync_directory(self) -> None:
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._sync(fd)
        finally:
            os.close(fd)

    def _sync(self, fd: int) -> None:
        if self._durable:
            os.fsync(fd)

    def _allocate(self, needed: int) -> None:
        """Make room for `needed` bytes and a step more. The reserve stays free for what must end in order."""
        disk = os.fstatvfs(self._fd)
        free = disk.f_bavail * disk.f_frsize
        missing = needed - self._allocated
        if free < missing + self._reserve_bytes:
            raise StorageError(
                f"the disk of {self._directory} is full: {free >> 10} KiB are free and "
                f"{self._reserve_bytes >> 10} KiB are kept in reserve; free some space and start again"
            )
        step = min(missing + self._step_bytes, free - self._reserve_bytes)
        os.posix_fallocate(self._fd, self._allocated, step)
        self._allocated += step


class Writer(Protocol):
    """What a journal needs of its hand on the disk. All is called on the loop."""

    file: SegmentFile
    failure: StorageError | None
    """What ended it; nothing is written after."""
    writes: int
    """Durable ones, of a group each."""

    def start(self, report: Callable[[], None]) -> None:
        """Begin to write what is put; `report` is called on the loop when some is durable or failed."""

    def put(self, work: Work) -> None:
        """Queue; return at once."""

    def finished(self) -> deque[Queued]:
        """Return what became durable, in order; the caller takes it out."""

    async def stop(self) -> None:
        """Write what is queued, and end."""


class SegmentHand:
    """Performs work on a segment file. Ends at its first failure."""

    def __init__(self, directory: Path, reserve_bytes: int, step_bytes: int, durable: bool) -> None:
        self.file = SegmentFile(directory, reserve_bytes, step_bytes, durable)
        self.failure: StorageError | None = None
        self.writes = 0
        self.done: deque[Queued] = deque()
        self._directory = directory

    def perform(self, work: Iterable[Work]) -> None:
        """Write in order; what is durable is in `done`. Never raises: see `failure`."""
        try:
            group: list[Queued] = []
            for item in work:
                if isinstance(item, Queued):
                    group.append(item)
                    continue
                self._write(group)
                group = []
                if isinstance(item, NewSegment):
                    self.file.create(item.segment, item.salt)
                else:
                    self.file.drop(item.paths)
            self._write(group)
        except StorageError as error:
            self.failure = error
        except OSError as error:
            self.failure = StorageError(
                f"the journal in {self._directory} cannot be written ({error.strerror}); "
                f"check the disk and its free space, then start again"
            )

    def _write(self, group: list[Queued]) -> None:
        if not group:
            return
        assert group[0].offset >= SEGMENT_HEADER.size, "a record over a segment's header"
        self.file.write(group[0].offset, [buffer for item in group for buffer in item.buffers])
        self.writes += 1
        self.done.extend(group)


class ThreadWriter(SegmentHand):
    """Writes durably in a thread of its own."""

    def __init__(self, directory: Path, reserve_bytes: int, step_bytes: int) -> None:
        super().__init__(directory, reserve_bytes, step_bytes, durable=True)
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self.put = self._queue.put

    def start(self, report: Callable[[], None]) -> None:
        assert self._thread is None, "a journal has one writer"
        token = trio.lowlevel.current_trio_token()
        self._thread = threading.Thread(
            target=self._serve, args=(partial(_on_loop, token, report),), name="journal", daemon=True
        )
        self._thread.start()

    def finished(self) -> deque[Queued]:
        return self.done

    async def stop(self) -> None:
        """Return when the thread has ended: the length of a write."""
        self._queue.put(None)
        if self._thread is not None:
            await trio.to_thread.run_sync(self._thread.join)

    def _serve(self, report: Callable[[], None]) -> None:
        while self.failure is None:
            work = self._take()
            if not work:
                return
            self.perform(work)
            report()

    def _take(self) -> list[Work]:
        """Return all that is queued, at least one; none when it is time to end."""
        taken: list[Work] = []
        try:
            item = self._queue.get()
            while item is not None:
                taken.append(item)
                item = self._queue.get_nowait()
            if taken:
                self._queue.put(None)  # first write what came before the end, then see the end again
        except Empty:
            pass
        return taken


class InlineWriter(SegmentHand):
    """Writes on the loop, when its journal looks for what is durable, and forces nothing to the disk."""

    def __init__(self, directory: Path, reserve_bytes: int, step_bytes: int) -> None:
        super().__init__(directory, reserve_bytes, step_bytes, durable=False)
        self._queue: list[Work] = []
        self._report: Callable[[], None] | None = None

    def start(self, report: Callable[[], None]) -> None:
        self._report = report
        if self._queue:
            report()

    def put(self, work: Work) -> None:
        self._queue.append(work)
        if self._report is not None:
            self._report()

    def finished(self) -> deque[Queued]:
        if self.failure is None:
            work, self._queue = self._queue, []
            self.perform(work)
        return self.done

    async def stop(self) -> None:
        self.finished()


MakeWriter = Callable[[Path, int, int], Writer]
"""(directory, bytes of the disk kept in reserve, bytes allocated ahead)."""


def _on_loop(token: trio.lowlevel.TrioToken, report: Callable[[], None]) -> None:
    try:
        token.run_sync_soon(report, idempotent=True)
    except trio.RunFinishedError:
        return  # the loop is gone and waits for nothing
