"""A snapshot on its way here: groups come in any order and outlive a restart.

No list of what came is kept: a group is there if the bytes at its place have its hash, which takes 0.2 s to
find out for a million accounts.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from prsm_node.ledger.bucket_groups import GROUP_BYTES, group_bytes
from prsm_node.storage import snapshot_manifest
from prsm_node.storage.durable_files import write_whole
from prsm_node.storage.errors import StorageError
from prsm_node.storage.snapshot_folder import FREE_BYTES_MIN, GROUPS, MANIFEST, opened, read_group
from prsm_node.storage.snapshot_manifest import BrokenManifest, Manifest

INCOMING: Final = "incoming"
# The groups, and the state made of them: buckets in pages of their own, and 100 bytes an account for its
# address.
ROOM_FACTOR: Final = 5


class Incoming:
    """Make one with `begin` or `resume`. Methods block and may raise OSError."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._descriptor = os.open(path / GROUPS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @property
    def size_bytes(self) -> int:
        """Of all groups."""
        return sum(group_bytes(self.manifest.accounts, index) for index in range(len(self.manifest.groups)))

    def held(self, tell: Callable[[int], None] = lambda index: None) -> set[int]:
        """Return the groups that are here; `tell` hears how far the looking is."""
        found = set()
        for index in range(len(self.manifest.groups)):
            if read_group(self._descriptor, self.manifest, index) is not None:
                found.add(index)
            tell(index)
        return found

    def put(self, index: int, group: bytes) -> None:
        """Write a group, whose hash was checked, at its place."""
        written = os.pwrite(self._descriptor, group, index * GROUP_BYTES)
        if written != len(group):
            raise StorageError(f"the disk of {self.path} is full; free some space and start again")

    def sync(self) -> None:
        """All groups are written: make them durable."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def begin(folder: Path, manifest: Manifest) -> Incoming:
    """Begin one in a home's folder of snapshots, in place of what was on its way; raise StorageError where
    the disk has no room for it."""
    path = folder / INCOMING
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700, parents=True)
    needed = ROOM_FACTOR * GROUP_BYTES * len(manifest.groups) + FREE_BYTES_MIN
    disk = os.statvfs(path)
    free = disk.f_bavail * disk.f_frsize
    if free < needed:
        raise StorageError(
            f"the disk of {folder} has {free >> 20} MB free; the snapshot takes {needed >> 20} MB with the "
            "state made of it; free some space and start again"
        )
    write_whole(path / MANIFEST, snapshot_manifest.encode(manifest))
    return Incoming(path, manifest)


def resume(folder: Path) -> Incoming | None:
    """Return the one that was on its way, None where there is none that can be read."""
    path = folder / INCOMING
    try:
        return Incoming(path, opened(path).manifest)
    except (FileNotFoundError, BrokenManifest):
        return None


def discard(folder: Path) -> None:
    """Forget what was on its way."""
    shutil.rmtree(folder / INCOMING, ignore_errors=True)
