"""The journal: an append-only log in which everything that this node promises lies before the promise leaves.

Batches, certificates, proposals, votes and the guard go here (DESIGN, "Storage": durability lives in an
append-only log, LMDB holds what follows from it). One durable write carries all that queued, so the disk's
latency is paid once a group; `then` is called on the event loop, in the order of appending, once the record
would survive a loss of power. journal_segments.py fixes the bytes, journal_writer.py has the thread.

A write that fails ends the journal: nothing after it is acknowledged, because after a failed sync nobody
knows what the disk holds.
"""

import os
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from prsm_node.storage.durable_files import make_folder
from prsm_node.storage.errors import StorageError
from prsm_node.storage.journal_segments import (
    RECORD_BYTES_MAX,
    RECORD_HEADER_BYTES,
    SEGMENT_HEADER,
    Corrupt,
    Record,
    find_end,
    read_record,
    read_salt,
    record_header,
    scan,
    segment_numbers,
    segment_path,
)
from prsm_node.storage.journal_writer import Drop, MakeWriter, NewSegment, Queued, ThreadWriter, Writer

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # libp2p brings these stubs, which hide trio's own

SEGMENT_BYTES = 64 << 20
# Who brings in much holds back where a quarter of it waits (`crowded`), and the rest is little: reaching this
# means a disk that stands still.
QUEUE_BYTES_MAX = 64 << 20
# What LMDB and a clean end need when the journal stops for want of space.
RESERVE_BYTES = 16 << 20
# Allocated ahead in steps: large enough to be rare at 5 MB/s, small enough for a small disk.
ALLOCATE_STEP_BYTES = 4 << 20
# Records that nobody waits for: ten durable writes a second where a node that catches up would make one a
# record.
GATHER_S = 0.1
GATHER_BYTES = 1 << 20
# Open segments for reading; a read beyond these opens a file, 20 us.
READERS_MAX = 16


class JournalFull(StorageError):
    """More bytes wait for the disk than may: it stands still, and callers did not hold back."""


class JournalStats(msgspec.Struct, frozen=True):
    records: int
    """Appended since the start."""
    writes: int
    """Durable writes since the start."""
    queued_bytes: int
    segments: int
    size_bytes: int
    """From the oldest record kept to the next, headers included."""


def _place(position: int) -> tuple[int, int]:
    return position >> 32, position & 0xFFFFFFFF


class Journal:
    """Appends from the event loop, one owner task in `run`. Not safe for two threads."""

    def __init__(
        self,
        directory: Path,
        segment_bytes: int,
        writer: Writer,
        queue_bytes_max: int,
        entropy: Callable[[int], bytes],
    ) -> None:
        self.on_new_segment: Callable[[], None] | None = None
        """Called when a new segment begins: what it appends comes first there, so that older ones can go."""
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._queue_bytes_max = queue_bytes_max
        self._writer = writer
        self._entropy = entropy
        self._salts: OrderedDict[int, int] = OrderedDict()  # of every segment, oldest first
        self._ends: dict[int, int] = {}  # of every segment: where its records end, queued ones included
        self._segment = 0
        self._durable = (0, SEGMENT_HEADER.size)
        self._queued: dict[int, Queued] = {}
        self._queued_bytes = 0
        self._appended = 0
        self._acknowledged = 0
        self._flushes: deque[tuple[int, trio.Event]] = deque()
        self._readers: OrderedDict[int, int] = OrderedDict()
        self._wake = trio.Event()
        self._gathered: list[Queued] = []
        self._gathered_bytes = 0
        self._gathering_since = 0.0
        self._overrun: JournalFull | None = None
        self._rolling = False
        self._ended = False

    @classmethod
    def open(
        cls,
        directory: Path,
        segment_bytes: int = SEGMENT_BYTES,
        *,
        queue_bytes_max: int = QUEUE_BYTES_MAX,
        reserve_bytes: int = RESERVE_BYTES,
        writer: MakeWriter = ThreadWriter,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> "Journal":
        """Open or make the journal in `directory`; the torn end of a last write is cut off.

        Raise StorageError for a damaged or incomplete journal, or where there is no space for one.
        """
        assert 4_096 <= segment_bytes <= 1 << 31, f"a segment of {segment_bytes} bytes"
        step_bytes = min(ALLOCATE_STEP_BYTES, segment_bytes)
        hand = writer(directory, reserve_bytes, step_bytes)
        journal = cls(directory, segment_bytes, hand, queue_bytes_max, entropy)
        try:
            make_folder(directory, 0o700)
            journal._load()
        except StorageError:
            journal.close()
            raise
        except OSError as error:
            journal.close()
            raise StorageError(f"the journal in {directory} cannot be opened: {error.strerror}") from error
        return journal

    def _load(self) -> None:
        numbers = segment_numbers(self._directory)
        if numbers and read_salt(segment_path(self._directory, numbers[-1]), numbers[-1]) is None:
            # Its header is written durably before its first record: without one it never had any.
            last = segment_path(self._directory, numbers[-1])
            with last.open("rb") as file:
                if any(file.read()[SEGMENT_HEADER.size :]):
                    raise StorageError(
                        f"journal segment {last} has a damaged header; restore it or sync anew"
                    )
            last.unlink()
            numbers.pop()
        for number in numbers:
            path = segment_path(self._directory, number)
            salt = read_salt(path, number)
            if salt is None:
                raise StorageError(f"journal segment {path} has a damaged header; restore it or sync anew")
            self._salts[number] = salt
            self._ends[number] = path.stat().st_size
        if not numbers:
            salt = self._new_salt()
            self._writer.file.create(0, salt)
            self._salts[0], self._ends[0] = salt, SEGMENT_HEADER.size
            return
        self._segment = numbers[-1]
        found = find_end(segment_path(self._directory, self._segment), self._salts[self._segment])
        self._ends[self._segment] = found.offset
        self._writer.file.resume(self._segment, found)
        self._durable = (self._segment, found.offset)

    def _new_salt(self) -> int:
        return int.from_bytes(self._entropy(4), "little")

    @property
    def begin(self) -> int:
        """The position of the oldest record kept."""
        return (next(iter(self._salts)) << 32) | SEGMENT_HEADER.size

    @property
    def end(self) -> int:
        """The position after the last record, queued ones included."""
        return (self._segment << 32) | self._ends[self._segment]

    @property
    def crowded(self) -> bool:
        """Whether a quarter of what may wait for the disk does: time to hold back, for who can."""
        return self._queued_bytes >= self._queue_bytes_max // 4

    def stats(self) -> JournalStats:
        return JournalStats(
            records=self._appended,
            writes=self._writer.writes,
            queued_bytes=self._queued_bytes,
            segments=len(self._salts),
            size_bytes=sum(self._ends.values()),
        )

    def append(
        self, kind: int, *buffers: bytes, then: Callable[[], None] | None = None, urgent: bool = True
    ) -> int:
        """Queue a record and return its position at once; `then` is called on the loop when it is durable.

        What is not urgent may wait GATHER_S for more, or for an urgent record or a flush, to leave with it.
        Callbacks run in the order of appending. Raise the StorageError that ended it all. JournalFull does so
        too, or a record that a caller in another task could not place would be missing without a word.
        """
        failure = self._writer.failure or self._overrun
        if failure is not None:
            raise failure
        if self._ended:
            raise StorageError(f"the journal in {self._directory} has ended; nothing more can be kept")
        assert 1 <= kind <= 255, f"a record of kind {kind}"
        length = sum(map(len, buffers))
        assert length <= RECORD_BYTES_MAX, f"a record of {length} bytes"
        if self._queued_bytes + length > self._queue_bytes_max:
            self._overrun = JournalFull(
                f"{self._queued_bytes >> 20} MiB wait for the disk of {self._directory}, which "
                f"does not keep up; check its health"
            )
            self._wake.set()
            raise self._overrun
        size = RECORD_HEADER_BYTES + length
        offset = self._ends[self._segment]
        if offset + size > self._segment_bytes and offset > SEGMENT_HEADER.size and not self._rolling:
            self._roll()
            offset = self._ends[self._segment]
        durable = self._durable[1] if self._durable[0] == self._segment else 0
        header = record_header(kind, buffers, length, durable, self._salts[self._segment], offset)
        position = (self._segment << 32) | offset
        queued = Queued(self._segment, offset, (header, *buffers), size, then)
        self._ends[self._segment] = offset + size
        self._queued[position] = queued
        self._queued_bytes += size
        self._appended += 1
        self._gathered.append(queued)
        self._gathered_bytes += size
        if urgent or self._gathered_bytes >= GATHER_BYTES:
            self._hand_over()
        elif len(self._gathered) == 1:
            self._gathering_since = trio.current_time()
            self._wake.set()  # the owner sees to it in time
        return position

    def _hand_over(self) -> None:
        for queued in self._gathered:
            self._writer.put(queued)
        self._gathered.clear()
        self._gathered_bytes = 0

    def _roll(self) -> None:
        self._segment += 1
        salt = self._new_salt()
        self._salts[self._segment], self._ends[self._segment] = salt, SEGMENT_HEADER.size
        self._hand_over()
        self._writer.put(NewSegment(self._segment, salt))
        if self.on_new_segment is None:
            return
        self._rolling = True
        try:
            self.on_new_segment()
        finally:
            self._rolling = False

    async def run(self, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Own the writer. Raise the StorageError of the first write that fails.

        Cancelling writes what is queued and ends; it calls no further `then`.
        """
        self._writer.start(self._wake_owner)
        task_status.started()
        try:
            while True:
                with trio.move_on_at(self._gathering_since + GATHER_S if self._gathered else inf):
                    await self._wake.wait()
                self._wake = trio.Event()
                if self._gathered and trio.current_time() >= self._gathering_since + GATHER_S:
                    self._hand_over()
                self._acknowledge()
                failure = self._writer.failure or self._overrun
                if failure is not None:
                    raise failure
        finally:
            self._ended = True
            self._hand_over()
            with trio.CancelScope(shield=True):
                await self._writer.stop()
            # Durable, though nobody is told any more: who waits in `flush` may go on.
            self._acknowledged += len(self._writer.finished())
            self.close()

    def _wake_owner(self) -> None:
        self._wake.set()

    def _acknowledge(self) -> None:
        done = self._writer.finished()
        queued = self._queued
        while done:
            item = done.popleft()
            del queued[(item.segment << 32) | item.offset]
            self._queued_bytes -= item.size
            self._acknowledged += 1
            self._durable = (item.segment, item.offset + item.size)
            if item.then is not None:
                item.then()
        while self._flushes and self._flushes[0][0] <= self._acknowledged:
            self._flushes.popleft()[1].set()

    def close(self) -> None:
        """Let go of the files. For who opened a journal and never ran it; `run` does so at its end."""
        self._ended = True
        self._writer.file.close()
        for fd in self._readers.values():
            os.close(fd)
        self._readers.clear()
        while self._flushes:
            self._flushes.popleft()[1].set()

    async def flush(self) -> None:
        """Return when all that was appended so far is acknowledged. Raise StorageError if it won't be."""
        self._hand_over()
        wanted = self._appended
        if self._acknowledged < wanted and not self._ended:
            event = trio.Event()
            self._flushes.append((wanted, event))
            await event.wait()
        if self._acknowledged < wanted:
            raise self._writer.failure or StorageError(
                f"the journal in {self._directory} ended before it was flushed"
            )

    def read(self, position: int) -> bytes:
        """Return a record's payload, queued or written. Raise StorageError where it can't be had."""
        queued = self._queued.get(position)
        if queued is not None:
            return b"".join(queued.buffers[1:])
        segment, offset = _place(position)
        if segment not in self._salts or not SEGMENT_HEADER.size <= offset < self._ends[segment]:
            raise StorageError(f"journal {self._directory} keeps no record at {segment}:{offset}")
        try:
            return read_record(self._reader(segment), self._salts[segment], offset)[1]
        except Corrupt:
            raise self._damaged(segment, offset) from None
        except OSError as error:
            raise self._unreadable(segment, error) from None

    def _reader(self, segment: int) -> int:
        fd = self._readers.get(segment)
        if fd is None:
            if len(self._readers) >= READERS_MAX:
                os.close(self._readers.popitem(last=False)[1])
            fd = os.open(segment_path(self._directory, segment), os.O_RDONLY | os.O_CLOEXEC)
            self._readers[segment] = fd
        self._readers.move_to_end(segment)
        return fd

    def _damaged(self, segment: int, offset: int) -> StorageError:
        return StorageError(
            f"journal segment {segment_path(self._directory, segment)} is damaged at byte {offset}; "
            f"restore it or sync this node anew, and do not vote with its key until then"
        )

    def _unreadable(self, segment: int, error: OSError) -> StorageError:
        path = segment_path(self._directory, segment)
        return StorageError(f"journal segment {path} can't be read ({error.strerror}); check the disk")

    def replay(self, start: int | None = None) -> Iterator[Record]:
        """Yield what is durable, oldest first, from the record at `start` on. For before the first append.

        Raise StorageError where one can't be read, or where `start` lies before the oldest record kept.
        """
        first, offset = _place(self.begin if start is None else start)
        if first not in self._salts:
            raise StorageError(
                f"journal {self._directory} keeps no record at {first}:{offset}; sync this node anew"
            )
        for segment in [number for number in self._salts if number >= first]:
            end = self._durable[1] if segment == self._durable[0] else self._ends[segment]
            if segment > self._durable[0]:
                return
            with segment_path(self._directory, segment).open("rb", buffering=1 << 20) as file:
                try:
                    for record in scan(file, self._salts[segment], offset, end):
                        yield Record(record.kind, record.payload, (segment << 32) | record.offset)
                except Corrupt as error:
                    raise self._damaged(segment, error.offset) from None
                except OSError as error:
                    raise self._unreadable(segment, error) from None
            offset = SEGMENT_HEADER.size

    def drop_before(self, position: int) -> int:
        """Delete the segments older than the one of `position`; return how many."""
        last = min(position >> 32, self._segment)
        dropped = [number for number in self._salts if number < last]
        for number in dropped:
            del self._salts[number], self._ends[number]
            fd = self._readers.pop(number, None)
            if fd is not None:
                os.close(fd)
        if dropped:
            self._writer.put(Drop(tuple(segment_path(self._directory, number) for number in dropped)))
        return len(dropped)
