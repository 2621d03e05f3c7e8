"""A folder that has its name is on the disk with all that is in it, and so are the names above it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from prsm_node.cli.home_making import new_home
from prsm_node.storage.journal import Journal
from prsm_node.storage.restoring import restore
from tests.storage.made_chain import Chain
from tests.storage.made_snapshots import snapshot_of

Durable = Callable[[Path], bool]


@pytest.fixture
def durable(monkeypatch: pytest.MonkeyPatch) -> Durable:
    """Whether a file's content, or the names in a folder, were synced as they are."""
    synced: dict[int, int] = {}
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        found = os.fstat(descriptor)
        synced[found.st_ino] = found.st_mtime_ns

    monkeypatch.setattr(os, "fsync", fsync)
    return lambda path: synced.get(path.stat().st_ino) == path.stat().st_mtime_ns


def test_a_home_that_was_made_outlives_a_loss_of_power(tmp_path: Path, durable: Durable) -> None:
    place = tmp_path / "new" / "homes" / "home"
    with new_home(place) as home:
        home.config.write_text("settings")
        (home.path / "keys").mkdir()
        (home.path / "keys" / "node.json").write_text("secret")
    assert all(map(durable, (place, *place.rglob("*"), place.parent, place.parent.parent, tmp_path)))


async def test_a_state_made_of_a_snapshot_has_its_name_when_all_of_it_is_durable(
    tmp_path: Path, durable: Durable
) -> None:
    chain = Chain(100)
    state, _, snapshot = await snapshot_of(chain, tmp_path, 1)
    place = tmp_path / "made"
    restore(snapshot, chain.genesis, {}, place)
    assert all(map(durable, (place, place / "lmdb", place / "lmdb" / "data.mdb", tmp_path)))
    state.close()


def test_a_journals_folder_is_durable_before_its_first_record(tmp_path: Path, durable: Durable) -> None:
    place = tmp_path / "data" / "journal"
    Journal.open(place).close()
    assert all(map(durable, (place, place.parent, tmp_path)))
