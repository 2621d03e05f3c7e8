"""Files for their owner only: made whole or not at all, never written over, refused when others read them."""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from prsm_node.errors import OperatorError

OWNER_ONLY: Final = 0o600
OWNER_ONLY_FOLDER: Final = 0o700
OTHERS: Final = 0o077


class PrivateFileError(OperatorError):
    """A private file that can't be made, or that can't be trusted as it lies there."""


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, for its owner only; one that exists is left as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=OWNER_ONLY_FOLDER, exist_ok=True)


def write_new(path: Path, data: bytes) -> None:
    """Make a file of mode 0600, durable when this returns; raise PrivateFileError if there is one already.

    A crash leaves either nothing or a `.new` file beside it that nothing reads.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER_ONLY)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), OWNER_ONLY)  # whatever the umask says
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # A link, since a rename would replace what is there: the secret of somebody's money.
        os.link(draft, path)
    except FileExistsError:
        raise PrivateFileError(f"{path} exists and is never written over; move it away first") from None
    finally:
        draft.unlink()
    _make_entry_durable(path.parent)


def read(path: Path, bytes_max: int) -> bytes:
    """Return a private file; raise PrivateFileError where it is missing, too large or readable by others."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise PrivateFileError(f"there is no file {path}; name one that exists, or put it back") from None
    except OSError as error:
        raise PrivateFileError(f"{path} can't be opened: {(error.strerror or '').lower()}") from None
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise PrivateFileError(f"{path} is not a file; name one")
        if mode & OTHERS:
            raise PrivateFileError(
                f"{path} has mode {stat.S_IMODE(mode):o}, so others can reach it; run: chmod 600 {path}"
            )
        data = os.read(handle, bytes_max + 1)  # a small regular file comes whole
    finally:
        os.close(handle)
    if len(data) > bytes_max:
        raise PrivateFileError(f"{path} is larger than {bytes_max} bytes; it is some other file")
    return data


def _make_entry_durable(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
