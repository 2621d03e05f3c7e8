"""Sorted runs: files of (hash prefix, position) pairs, each for a range of heights, written once and merged.

A file's name says its level and heights, its head how many entries it has. It is written under another name,
synced and renamed, so that a run is whole or not there. Runs are derived: a missing or torn one is made again
from the blocks.
"""

import mmap
import os
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import Final

from prsm_node.storage.durable_files import rename

ENTRY_BYTES: Final = 16
PREFIX_BYTES: Final = 8
MAGIC: Final = b"PRSMRUN1"
HEAD: Final = Struct("<8sQQQQ")
"""Magic, level, first height, last height, entries."""
# A slice is sorted in one go, about 2 ms in which no other thread runs; then the merge steps aside.
SLICE_ENTRIES: Final = 4_096
PAUSE_S: Final = 0.002


class BrokenRun(Exception):
    """The file is no whole run; delete it, it will be made again."""


class Run:
    """An open run."""

    def __init__(self, path: Path) -> None:
        """Raise BrokenRun."""
        self.path = path
        with path.open("rb") as file:
            head = file.read(HEAD.size)
            if len(head) != HEAD.size:
                raise BrokenRun(f"{path} is {len(head)} bytes")
            magic, self.level, self.first, self.last, self.count = HEAD.unpack(head)
            size = os.fstat(file.fileno()).st_size
            if magic != MAGIC or size != HEAD.size + self.count * ENTRY_BYTES or self.first > self.last:
                raise BrokenRun(f"{path} has {size} bytes and says {self.count} entries")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._indexes = range(self.count)

    def positions(self, prefix: bytes) -> list[int]:
        """Return all positions under this prefix."""
        found = []
        for index in range(self.place(prefix), self.count):
            entry = self.entry(index)
            if not entry.startswith(prefix):
                break
            found.append(int.from_bytes(entry[PREFIX_BYTES:], "big"))
        return found

    def place(self, prefix: bytes, start: int = 0) -> int:
        """Return the index of the first entry, from `start` on, that is not below `prefix`."""
        return bisect_left(self._indexes, prefix, lo=start, key=self.entry)

    def entry(self, index: int) -> bytes:
        at = HEAD.size + index * ENTRY_BYTES
        return self._map[at : at + ENTRY_BYTES]

    def entries(self, start: int, end: int) -> list[bytes]:
        block = self._map[HEAD.size + start * ENTRY_BYTES : HEAD.size + end * ENTRY_BYTES]
        return [block[at : at + ENTRY_BYTES] for at in range(0, len(block), ENTRY_BYTES)]

    def close(self) -> None:
        self._map.close()


def name_of(level: int, first: int, last: int) -> str:
    return f"{first:012d}-{last:012d}-{level}.run"


def write(
    directory: Path, level: int, first: int, last: int, parts: Iterator[Sequence[bytes]], count: int
) -> Run:
    """Write a run of `count` entries, given sorted in parts; raise OSError with nothing left behind."""
    path = directory / name_of(level, first, last)
    draft = path.with_suffix(".draft")
    try:
        with draft.open("wb") as file:
            file.write(HEAD.pack(MAGIC, level, first, last, count))
            for part in parts:
                file.write(b"".join(part))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    rename(draft, path)
    return Run(path)


def merge(directory: Path, level: int, runs: Sequence[Run], pause_s: float = PAUSE_S) -> Run:
    """Merge adjacent runs into one of the next level; the caller deletes them. Raise OSError."""
    count = sum(run.count for run in runs)
    return write(directory, level, runs[0].first, runs[-1].last, _merged(runs, count, pause_s), count)


def _merged(runs: Sequence[Run], count: int, pause_s: float) -> Iterator[list[bytes]]:
    """Hashes spread evenly, so equal ranges of prefixes make slices of about equal size."""
    slices = count // SLICE_ENTRIES + 1
    starts = [0] * len(runs)
    for number in range(1, slices + 1):
        if number < slices:
            bound = (number * 2**64 // slices).to_bytes(PREFIX_BYTES, "big")
            ends = [run.place(bound, start) for run, start in zip(runs, starts, strict=True)]
        else:
            ends = [run.count for run in runs]
        part: list[bytes] = []
        for run, start, end in zip(runs, starts, ends, strict=True):
            part += run.entries(start, end)
        part.sort()
        yield part
        starts = ends
        if pause_s:
            time.sleep(pause_s)
