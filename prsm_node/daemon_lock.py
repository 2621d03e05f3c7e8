"""One daemon a home: an exclusive lock for as long as it lives, and H/daemon.json, which says where it is.

The lock is the kernel's (flock), on H/lock and on H itself: a killed daemon leaves none behind, whatever its
files say, and deleting a file lets no second one in.
"""

import fcntl
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec

from prsm_node.errors import OperatorError
from prsm_node.home import Home
from prsm_node.unreadable import UNREADABLE

RECORD_BYTES_MAX: Final = 16_384


class HomeInUse(OperatorError):
    """Another daemon runs on this home; the message names its process."""


class DaemonRecord(msgspec.Struct, frozen=True):
    """H/daemon.json. It can outlive a daemon that was killed; `running` says whether one lives."""

    pid: int
    listen: Annotated[list[str], msgspec.Meta(max_length=64)]
    """Multiaddrs."""
    started: str
    """RFC 3339."""


class DaemonLock:
    """What who holds the lock may do."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def announce(self, listen: list[str], started: datetime) -> None:
        """Write H/daemon.json, whole or not at all; raise OSError."""
        text = started.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = DaemonRecord(os.getpid(), listen, text)
        draft = self._home.daemon_record.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(record) + b"\n")
        draft.replace(self._home.daemon_record)


@contextmanager
def held(home: Home) -> Iterator[DaemonLock]:
    """Hold the home's lock while in the block; raise HomeInUse. At the end H/daemon.json is removed."""
    # Python marks both close-on-exec: no worker inherits the lock and keeps it past our end.
    folder = os.open(home.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        handle = os.open(home.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # The folder too: who takes the file for a stale one deletes it, and two would write one journal.
            if _taken(handle) or _taken(folder):
                pid = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
                raise HomeInUse(
                    f"a daemon runs on {home.path} already, as process {pid or 'unknown'}; "
                    f"stop it with: prsm-node --home {shlex.quote(str(home.path))} stop"
                )
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            home.daemon_record.unlink(missing_ok=True)
            try:
                yield DaemonLock(home)
            finally:
                home.daemon_record.unlink(missing_ok=True)
                os.ftruncate(handle, 0)
        finally:
            os.close(handle)
    finally:
        os.close(folder)


def _taken(handle: int) -> bool:
    """Lock a file or folder for as long as it is open here; tell whether another process has it locked. Some
    file systems of other machines lock no folders: there the file's lock is all."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            raise
    return False


def running(home: Home) -> DaemonRecord | None:
    """Return the record of the daemon that holds the lock of this home now, if it has announced itself."""
    try:
        with home.lock.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except BlockingIOError:
                pass
        with home.daemon_record.open("rb") as file:
            return msgspec.json.decode(file.read(RECORD_BYTES_MAX), type=DaemonRecord)
    except (FileNotFoundError, *UNREADABLE):
        return None
