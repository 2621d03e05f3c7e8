"""The intent to join a network, as it lies on the disk: a folder beside the place of the home.

`join` makes it first of all, fills the home in it, and renames it into place: one act makes the home and ends
the intent. Whatever ends `join` sooner, kill -9 and a power cut included, leaves the folder, and while it
lies there `start` makes no network of its own in that place, and `join` can be run again.
"""

import fcntl
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prsm_node.errors import OperatorError
from prsm_node.storage.durable_files import make_folder, rename, sync, sync_all


def folder(home: Path) -> Path:
    """Return where the intent to join lies, or would lie."""
    return home.parent / f".{home.name}.joining"


def refuse(home: Path) -> None:
    """Raise OperatorError where a join of this home was begun and not finished."""
    if folder(home).exists():
        command = f"prsm-node --home {shlex.quote(str(home))}"
        raise OperatorError(
            f"the join of {home} was begun and is not finished; go on with: {command} join INVITE, "
            f"or make a network of its own with: {command} init --dev"
        )


def forget(home: Path) -> None:
    """Give a join up, since the home was made otherwise."""
    shutil.rmtree(folder(home), ignore_errors=True)


@contextmanager
def intent(home: Path) -> Iterator[Path]:
    """Make the intent durable and give its folder, empty; the block ends with `finish`, or it stays.

    Raise OSError where it can't be made, OperatorError where another `join` is at work there.
    """
    make_folder(home.parent)
    place = folder(home)
    place.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = _is(place, handle)  # and not the home of a join that has just finished
        except BlockingIOError:
            free = False
        if not free:
            raise OperatorError(f"another prsm-node joins with {home} just now; wait for it")
        sync(place.parent)
        _empty(place)
        try:
            yield place
        finally:
            if _is(place, handle):  # not finished: keys that no home has are of no use to anybody
                _empty(place)
    finally:
        os.close(handle)


def finish(home: Path) -> None:
    """Put the filled folder in the home's place, durably; raise OSError."""
    place = folder(home)
    sync_all(place)
    rename(place, home)


def _is(place: Path, handle: int) -> bool:
    return place.exists() and os.path.samestat(place.stat(), os.fstat(handle))


def _empty(place: Path) -> None:
    for entry in place.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
