"""The LMDB environment: one writing process, a sparse map that grows behind a gate, a disk that may be full.

What LMDB does not do by itself, each reproduced before it was written here:
- The map is a bound. It starts at 64 GiB, sparse, and is doubled before 70 % are used. `set_mapsize` needs
  that no transaction is open in this process: all reads begin and end within one call on the loop's thread,
  writes are one at a time, and growing happens on the loop's thread between them. That is the gate.
- Another process that grew the map makes `begin` raise MapResizedError: take the new size over, try again.
- A full disk shows as EIO in the middle of a commit, and with writemap as SIGBUS: so never writemap, and
  free space is looked at before a commit. A reserve file is given up then, so that the rest of the daemon can
  end in order.
- Readers that died hold pages for ever: `reader_check` at opening and from time to time.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import lmdb

from prsm_node.storage.errors import StorageError

MAP_BYTES: Final = 64 * 2**30
MAP_FULL_FROM: Final = 0.7
RESERVE_BYTES: Final = 8 * 2**20
PAGE_BYTES: Final = 4096
# Branch pages, the free list and the other stores' last pages, on top of what a commit counts itself.
COMMIT_OVERHEAD_BYTES: Final = 2**20
READERS_MAX: Final = 126
STORES: Final = ("meta", "buckets", "numbers", "blocks", "commits", "rows")

Write = Callable[[lmdb.Transaction, "Environment"], None]


class DiskFull(StorageError):
    """Nothing was written, nothing is damaged; the same commit can be tried again."""


class MapFull(Exception):
    """The map was full in mid-commit, which was undone: grow, and commit again."""


class Environment:
    """An open environment with its stores. Use all of it but `write` on one thread."""

    def __init__(self, directory: Path, map_bytes: int = MAP_BYTES, sync: bool = True) -> None:
        """Raise StorageError. `sync=False` is for simulations, whose disk cannot fail."""
        self.directory = directory
        self._reserve = directory / "reserve"
        try:
            (directory / "lmdb").mkdir(parents=True, exist_ok=True)
            self._lmdb = lmdb.open(
                str(directory / "lmdb"),
                map_size=map_bytes,
                max_dbs=len(STORES),
                max_readers=READERS_MAX,
                writemap=False,
                sync=sync,
                metasync=sync,
                mode=0o600,
            )
            self._lmdb.reader_check()
            self.meta, self.buckets, self.numbers, self.blocks, self.commits, self.rows = (
                self._lmdb.open_db(name.encode()) for name in STORES
            )
            self._keep_reserve()
        except (lmdb.Error, OSError) as error:
            raise StorageError(
                f"the state in {directory} cannot be opened: {error}; check space, rights and the disk"
            ) from None

    @contextmanager
    def read(self) -> Iterator[lmdb.Transaction]:
        """A snapshot; hold it within one call only."""
        with self.begin() as transaction:
            yield transaction

    def begin(self) -> lmdb.Transaction:
        """A snapshot that the caller aborts within the same call; see `read`."""
        try:
            return self._lmdb.begin()
        except lmdb.MapResizedError:
            self._lmdb.set_mapsize(0)
            return self._lmdb.begin()

    def get(self, store: lmdb._Database, key: bytes) -> bytes | None:
        """Return a copy of one value."""
        with self.begin() as transaction:
            value = transaction.get(key, db=store)
            return None if value is None else bytes(value)

    def make_room(self, bytes_expected: int) -> None:
        """Grow the map if this commit could fill it too far, and see that the disk can take it.

        On the loop's thread, with no transaction open. Raise DiskFull.
        """
        needed = bytes_expected + COMMIT_OVERHEAD_BYTES
        info = self._lmdb.info()
        used, size = (info["last_pgno"] + 1) * PAGE_BYTES, info["map_size"]
        if used + needed > MAP_FULL_FROM * size:
            while used + needed > MAP_FULL_FROM * size:
                size *= 2
            self._lmdb.set_mapsize(size)
        free = _free_bytes(self.directory)
        if free < needed:
            self.give_up_reserve()
            raise self._disk_full(free, needed)

    def double_map(self) -> None:
        """After MapFull, on the loop's thread."""
        self._lmdb.set_mapsize(self._lmdb.info()["map_size"] * 2)

    def write(self, put: Write) -> None:
        """Run `put` in a write transaction and commit it durably; in a worker thread, one at a time.

        Raise MapFull or DiskFull, both with nothing changed, or StorageError.
        """
        try:
            with self._lmdb.begin(write=True) as transaction:
                put(transaction, self)
        except lmdb.MapFullError:
            raise MapFull from None
        except (lmdb.DiskError, OSError) as error:
            free = _free_bytes(self.directory)
            if free < RESERVE_BYTES:
                self.give_up_reserve()
                raise self._disk_full(free, RESERVE_BYTES) from None
            raise StorageError(
                f"writing the state in {self.directory} failed: {error}; check the disk"
            ) from None
        except lmdb.Error as error:
            # EIO of a full disk comes as the plain class too, and not always with its number.
            free = _free_bytes(self.directory)
            if free < RESERVE_BYTES:
                self.give_up_reserve()
                raise self._disk_full(free, RESERVE_BYTES) from None
            raise StorageError(
                f"writing the state in {self.directory} failed: {error}; check the disk"
            ) from None

    def write_growing(self, bytes_expected: int, put: Write) -> None:
        """`write` while nothing else runs, growing the map as it needs; raise StorageError."""
        while True:
            self.make_room(bytes_expected)
            try:
                self.write(put)
            except MapFull:
                self.double_map()
            else:
                return

    @property
    def map_bytes(self) -> int:
        return self._lmdb.info()["map_size"]

    @property
    def used_bytes(self) -> int:
        return (self._lmdb.info()["last_pgno"] + 1) * PAGE_BYTES

    def check_readers(self) -> int:
        """Clear the slots of readers whose process died; return how many there were."""
        return self._lmdb.reader_check()

    def close(self) -> None:
        self._lmdb.close()

    def give_up_reserve(self) -> None:
        """Free the reserve, so that journal and logs can end in order on a full disk."""
        self._reserve.unlink(missing_ok=True)

    def _keep_reserve(self) -> None:
        """Lay the reserve aside if the disk has room for it twice; it is a comfort, not a need."""
        if self._reserve.exists() or _free_bytes(self.directory) < 2 * RESERVE_BYTES:
            return
        with self._reserve.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)

    def _disk_full(self, free: int, needed: int) -> DiskFull:
        return DiskFull(
            f"the disk of {self.directory} is full: {free // 2**20} MB are free, {needed // 2**20 + 1} MB are"
            " needed to store the state; free some space and start again, nothing is damaged"
        )


def _free_bytes(directory: Path) -> int:
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize
