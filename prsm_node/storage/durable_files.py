"""Files and folders that are whole or not there: written under another name, synced, then renamed."""

import os
from pathlib import Path

DRAFT = ".part"


def sync(path: Path) -> None:
    """Make a file's content durable, or the names in a folder; raise OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(folder: Path) -> None:
    """Make all that is in a folder durable; raise OSError."""
    for parent, _, files in os.walk(folder):
        for name in files:
            sync(Path(parent, name))
        sync(Path(parent))


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make a folder and those above it that are missing, durably; raise OSError. What exists stays as it
    is."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent)


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
    sync(new.parent)
