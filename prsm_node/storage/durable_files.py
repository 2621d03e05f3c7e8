"""Files and folders that are whole or not there: written under another name, synced, then renamed."""

import os
from pathlib import Path

DRAFT = ".part"


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable; raise OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in place, durable when this returns; raise OSError with the old one untouched."""
    draft = path.with_name(path.name + DRAFT)
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    rename(draft, path)


def rename(old: Path, new: Path) -> None:
    """Rename within one directory, durable when this returns; raise OSError."""
    old.rename(new)
    sync_directory(new.parent)
