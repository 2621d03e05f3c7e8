"""A snapshot as one file, to be carried by hand: a head, the manifest, the groups one after the other."""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from struct import Struct
from typing import BinaryIO, Final

from prsm_node.errors import OperatorError
from prsm_node.ledger.bucket_groups import group_bytes, group_hash
from prsm_node.storage import snapshot_manifest
from prsm_node.storage.durable_files import DRAFT, rename
from prsm_node.storage.errors import StorageError
from prsm_node.storage.snapshot_folder import Snapshot, SnapshotFolder
from prsm_node.storage.snapshot_manifest import MANIFEST_BYTES_MAX, BrokenManifest, Manifest

MAGIC: Final = b"PRSMSNP1"
HEAD: Final = Struct("<8sQ")
"""Magic, bytes of the manifest."""

Tell = Callable[[int, int], None]
"""(groups done, groups in all)."""


class ArchiveFault(OperatorError):
    """The file is no snapshot, or damaged, or can't be written; the message says which."""


def write(snapshot: Snapshot, path: Path, tell: Tell) -> int:
    """Write a snapshot to a new file, whole or not there; return its size. Raise OperatorError."""
    if path.exists():
        raise ArchiveFault(f"{path} exists already; name a file that does not")
    draft = path.with_name(path.name + DRAFT)
    try:
        encoded = snapshot.encoded()
        with draft.open("wb") as file:
            file.write(HEAD.pack(MAGIC, len(encoded)) + encoded)
            count = len(snapshot.manifest.groups)
            for index in range(count):
                file.write(_group(snapshot, index))
                tell(index + 1, count)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        rename(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ArchiveFault(f"{path} can't be written: {(error.strerror or 'it fails').lower()}") from None
    except (StorageError, ArchiveFault):
        draft.unlink(missing_ok=True)
        raise
    return size


def _group(snapshot: Snapshot, index: int) -> bytes:
    try:
        return snapshot.group(index)
    except FileNotFoundError:
        raise ArchiveFault(
            f"the snapshot of height {snapshot.height} was let go for a newer one meanwhile; export that one"
        ) from None


class Archive:
    """A file that was opened: its manifest holds together, its groups are checked when they are read."""

    def __init__(self, file: BinaryIO, path: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self._file = file
        self._path = path

    def close(self) -> None:
        self._file.close()

    def keep(self, folder: SnapshotFolder, tell: Tell) -> Snapshot:
        """Make it a snapshot of a home; raise OperatorError with nothing left behind."""
        manifest = self.manifest
        count = len(manifest.groups)
        try:
            draft = folder.draft(manifest.height, manifest.accounts)
            try:
                for index, expected in enumerate(manifest.groups):
                    group = self._file.read(group_bytes(manifest.accounts, index))
                    if group_hash(group, manifest.accounts) != expected:
                        raise ArchiveFault(
                            f"{self._path} is damaged or cut off in group {index + 1} of {count}; export anew"
                        )
                    draft.add(group, expected)
                    tell(index + 1, count)
                if self._file.read(1):
                    raise ArchiveFault(f"{self._path} goes on after its last group, so it is no snapshot")
                draft.sync()
                folder.finish(draft.path, manifest)
            except BaseException:
                draft.drop()
                raise
        except OSError as error:
            why = (error.strerror or "it fails").lower()
            raise ArchiveFault(f"the snapshot can't be kept in {folder.directory}: {why}") from None
        kept = folder.at(manifest.height)
        assert kept is not None, "it was put in place"
        return kept


def opened(path: Path) -> "closing[Archive]":
    """Open a file that `write` made, to be closed by `with`; raise ArchiveFault."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise ArchiveFault(f"{path} can't be read: {(error.strerror or 'it fails').lower()}") from None
    try:
        head = file.read(HEAD.size)
        magic, length = HEAD.unpack(head) if len(head) == HEAD.size else (b"", 0)
        if magic != MAGIC or length > MANIFEST_BYTES_MAX:
            raise ArchiveFault(f"{path} is no snapshot; `prsm-node snapshot export FILE` makes one")
        return closing(Archive(file, path, snapshot_manifest.decode(file.read(length))))
    except BrokenManifest as error:
        file.close()
        raise ArchiveFault(f"{path} is no whole snapshot: {error}") from None
    except OSError as error:
        file.close()
        raise ArchiveFault(f"{path} can't be read: {(error.strerror or 'it fails').lower()}") from None
    except ArchiveFault:
        file.close()
        raise
