"""The snapshots of a home: each a folder with its manifest and its groups one after the other.

A folder is named by its height once all of it is durable, so that a crash leaves a whole snapshot or a draft,
and drafts are thrown away. The newest two are kept: one that somebody may be fetching, and the next.
"""

import os
import shutil
from pathlib import Path
from typing import Final

from prsm_node.ledger.bucket_groups import GROUP_BYTES, group_bytes, group_hash
from prsm_node.storage import snapshot_manifest
from prsm_node.storage.durable_files import DRAFT, rename, sync, write_whole
from prsm_node.storage.errors import StorageError
from prsm_node.storage.snapshot_manifest import MANIFEST_BYTES_MAX, BrokenManifest, Manifest

KEPT: Final = 2
MANIFEST: Final = "manifest"
GROUPS: Final = "groups"
# Left free when a snapshot is taken: the journal's and the state's reserves twice, and a minute of full load.
FREE_BYTES_MIN: Final = 256 * 2**20


class Snapshot:
    """One that is whole: on the disk since its manifest was."""

    def __init__(self, path: Path, manifest: Manifest, encoded: int) -> None:
        self.path = path
        self.manifest = manifest
        self.manifest_bytes = encoded

    @property
    def height(self) -> int:
        return self.manifest.height

    @property
    def size_bytes(self) -> int:
        return self.manifest_bytes + sum(
            group_bytes(self.manifest.accounts, index) for index in range(len(self.manifest.groups))
        )

    def encoded(self) -> bytes:
        """Return the manifest as it travels; raise OSError where it is gone."""
        return (self.path / MANIFEST).read_bytes()

    def group(self, index: int) -> bytes:
        """Return a group, checked against its hash; raise OSError, or StorageError where it is damaged."""
        with (self.path / GROUPS).open("rb") as file:
            content = read_group(file.fileno(), self.manifest, index)
        if content is None:
            raise StorageError(f"group {index} of the snapshot {self.path} is damaged; delete that folder")
        return content


def read_group(descriptor: int, manifest: Manifest, index: int) -> bytes | None:
    """Return the group that stands in a file of groups, None where it does not have its hash."""
    content = os.pread(descriptor, group_bytes(manifest.accounts, index), index * GROUP_BYTES)
    return content if group_hash(content, manifest.accounts) == manifest.groups[index] else None


class Draft:
    """A snapshot being written, in order of group, by a worker thread. Every method may raise OSError."""

    def __init__(self, path: Path, accounts: int) -> None:
        self.path = path
        self._accounts = accounts
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700)
        self._file = (path / GROUPS).open("wb")

    def add(self, group: bytes, expected: bytes) -> None:
        """Write the next group; raise StorageError for one that is not the state's."""
        if group_hash(group, self._accounts) != expected:
            raise StorageError("the accounts that were read do not lead to the state's root; check the disk")
        self._file.write(group)

    def sync(self) -> None:
        """All groups are written: make them durable."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def drop(self) -> None:
        """Leave nothing behind. On a full disk closing fails, for what was not written yet."""
        try:
            self._file.close()
        finally:
            shutil.rmtree(self.path, ignore_errors=True)


class SnapshotFolder:
    """Called by one thread at a time, but for `Snapshot`'s own reads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._snapshots: list[Snapshot] = []

    def open(self) -> list[str]:
        """Find the whole snapshots, throw drafts away; return a sentence for each that is damaged.

        Raise StorageError where the folder can't be used.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for draft in self._directory.glob(f"*{DRAFT}"):
                shutil.rmtree(draft)
            found, damaged = listed(self._directory)
        except OSError as error:
            why = (error.strerror or "it fails").lower()
            raise StorageError(f"the snapshots in {self._directory} can't be read: {why}") from None
        self._snapshots = found
        return damaged

    @property
    def directory(self) -> Path:
        return self._directory

    @property
    def snapshots(self) -> list[Snapshot]:
        """The whole ones, oldest first."""
        return self._snapshots

    @property
    def newest(self) -> Snapshot | None:
        return self._snapshots[-1] if self._snapshots else None

    def at(self, height: int) -> Snapshot | None:
        return next((snapshot for snapshot in self._snapshots if snapshot.height == height), None)

    def room_for(self, size_bytes: int) -> bool:
        """Whether the disk can take one of this size and still serve what must not fail."""
        disk = os.statvfs(self._directory)
        return disk.f_bavail * disk.f_frsize >= size_bytes + FREE_BYTES_MIN

    def draft(self, height: int, accounts: int) -> Draft:
        """Begin one; raise OSError."""
        return Draft(self._directory / f"{_name(height)}{DRAFT}", accounts)

    def finish(self, written: Path, manifest: Manifest) -> None:
        """Put what lies in a draft's folder in place, its groups durable, and let the oldest go.

        One of the same height gives way: it was left by a run that ended before its state was made, or by a
        state that was removed. Raise OSError.
        """
        encoded = snapshot_manifest.encode(manifest)
        write_whole(written / MANIFEST, encoded)
        sync(written)
        path = self._directory / _name(manifest.height)
        if path.exists():
            gone = path.with_name(f"{path.name}.old{DRAFT}")
            rename(path, gone)
            shutil.rmtree(gone)
        rename(written, path)
        others = [kept for kept in self._snapshots if kept.height != manifest.height]
        self._snapshots = [*others, Snapshot(path, manifest, len(encoded))]
        self._snapshots.sort(key=lambda snapshot: snapshot.height)
        while len(self._snapshots) > KEPT:
            self.drop(self._snapshots[0])

    def drop(self, snapshot: Snapshot) -> None:
        """Delete one, so that no half of it is ever found; raise OSError."""
        self._snapshots = [kept for kept in self._snapshots if kept is not snapshot]
        gone = snapshot.path.with_name(snapshot.path.name + DRAFT)
        rename(snapshot.path, gone)
        shutil.rmtree(gone)


def listed(directory: Path) -> tuple[list[Snapshot], list[str]]:
    """Return the whole snapshots of a folder, oldest first, and a sentence for each damaged one.

    Changes nothing, so that it may be asked while a daemon runs. Raise OSError.
    """
    found, damaged = [], []
    for path in sorted(directory.iterdir()) if directory.exists() else []:
        if not path.name.isdecimal():
            continue
        try:
            snapshot = opened(path)
        except BrokenManifest as error:
            damaged.append(f"the snapshot in {path} is damaged: {error}; delete that folder")
        except FileNotFoundError:
            continue  # it was let go in this moment
        else:
            found.append(snapshot)
    return found, damaged


def opened(path: Path) -> Snapshot:
    """Return the snapshot in a folder; raise BrokenManifest, OSError."""
    with (path / MANIFEST).open("rb") as file:
        encoded = file.read(MANIFEST_BYTES_MAX + 1)
    return Snapshot(path, snapshot_manifest.decode(encoded), len(encoded))


def _name(height: int) -> str:
    return f"{height:012d}"
