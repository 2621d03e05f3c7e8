"""The folder of a simulated run: in memory where the system has such files, gone with the run.

A run that is killed can't remove it, as workers are when their parent is interrupted. So each is locked by
its owner while it is used, by flock, which ends with the process whatever ended that; a folder that nobody
holds is removed by the next run, and by a parent that ended its workers.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY_DISK = Path("/dev/shm")
"""Where Linux keeps files in memory: nothing in a simulation needs to outlive it."""
PREFIX = "prsm-simulation-"


@contextmanager
def folder(place: Path | None = None) -> Iterator[Path]:
    """Own a new empty folder in `place`, and remove what owners who ended left there."""
    place = place or _place()
    clear(place)
    path, held = _locked(place)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(held)


def clear(place: Path | None = None) -> int:
    """Remove the folders whose owner has ended; return how many. Those of others are let alone."""
    removed = 0
    for path in sorted((place or _place()).glob(f"{PREFIX}*")):
        try:
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
            removed += not path.exists()
        except OSError:
            continue
        finally:
            os.close(held)
    return removed


def _locked(place: Path) -> tuple[Path, int]:
    """Make a folder and lock it. Between the two another run may take it for one that is left: then anew."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        try:
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        fcntl.flock(held, fcntl.LOCK_EX)
        if path.exists():
            return path, held
        os.close(held)


def _place() -> Path:
    in_memory = MEMORY_DISK.is_dir() and os.access(MEMORY_DISK, os.W_OK)
    return MEMORY_DISK if in_memory else Path(tempfile.gettempdir())
