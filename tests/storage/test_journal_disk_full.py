"""A disk that fills up is said in one sentence, and everything acknowledged before is still there."""

import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from prsm_node.storage.errors import StorageError
from prsm_node.storage.journal import Journal

KIB = 1 << 10


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 1 MiB; needs the right to mount."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("cannot mount a tmpfs here")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


async def fill(journal: Journal, acknowledged: list[int]) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        for number in range(2_000):
            payload = b"%04d" % number + bytes(KIB)
            try:
                journal.append(1, payload, then=partial(acknowledged.append, number))
            except StorageError:
                return  # `run` says the same to its owner
            await trio.sleep(0.0001)


@pytest.mark.parametrize("reserve_kib", [0, 300])
async def test_a_full_disk_ends_the_journal_and_loses_nothing_acknowledged(
    small_disk: Path, reserve_kib: int
) -> None:
    acknowledged: list[int] = []
    journal = Journal.open(small_disk, 128 * KIB, reserve_bytes=reserve_kib * KIB)
    with pytest.RaisesGroup(
        pytest.RaisesExc(StorageError, match="^the disk of .* is full: .*free some space")
    ):
        await fill(journal, acknowledged)
    disk = os.statvfs(small_disk)
    assert disk.f_bavail * disk.f_frsize >= reserve_kib * KIB, "the reserve is left for a clean end"
    assert len(acknowledged) > 400
    journal = Journal.open(small_disk, 128 * KIB, reserve_bytes=0)
    found = [int(record.payload[:4]) for record in journal.replay()]
    assert found[: len(acknowledged)] == acknowledged
    journal.drop_before(journal.end)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        journal.append(1, b"there is space again")
        await journal.flush()
        nursery.cancel_scope.cancel()


async def test_a_disk_filled_by_others_is_noticed_by_the_write(small_disk: Path) -> None:
    journal = Journal.open(small_disk, 128 * KIB, reserve_bytes=0)
    hog = os.open(small_disk / "hog", os.O_CREAT | os.O_WRONLY)
    disk = os.fstatvfs(hog)
    os.posix_fallocate(hog, 0, disk.f_bavail * disk.f_frsize)
    os.close(hog)
    acknowledged: list[int] = []
    with pytest.RaisesGroup(pytest.RaisesExc(StorageError, match="is full")):
        await fill(journal, acknowledged)
    journal = Journal.open(small_disk, 128 * KIB, reserve_bytes=0)
    assert [int(record.payload[:4]) for record in journal.replay()][: len(acknowledged)] == acknowledged
    journal.close()


async def test_a_journal_that_finds_no_space_to_begin_says_so(small_disk: Path) -> None:
    with pytest.raises(StorageError, match="is full"):
        Journal.open(small_disk / "journal", 128 * KIB, reserve_bytes=2 << 20)
