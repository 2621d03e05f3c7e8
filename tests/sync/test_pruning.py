"""What may be pruned: never the last blocks, nor what a kept snapshot needs above it."""

from pathlib import Path

import pytest

from prsm_node.storage.journal import Journal
from prsm_node.storage.snapshot_folder import SnapshotFolder
from prsm_node.sync import pruning
from prsm_node.sync.pruning import Pruning
from tests.storage.made_chain import Chain
from tests.storage.made_snapshots import grown, taken


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "RETAIN_MIN", 5)
    monkeypatch.setattr(pruning, "AT_ONCE_MIN", 2)


async def test_the_last_blocks_and_those_above_a_kept_snapshot_stay(tmp_path: Path) -> None:
    chain = Chain()
    state = await grown(chain, tmp_path / "state", 20)
    folder = SnapshotFolder(tmp_path / "snapshots")
    folder.open()
    journal = Journal.open(tmp_path / "journal")
    prunes = Pruning(state, journal, folder, 8, True, lambda: journal.begin)
    await prunes.prune()
    assert state.first_block == 13
    taken(chain, state, folder)  # at 20, and two blocks above
    for _ in range(20):
        chain.run(state)
    await state.commit()
    await prunes.prune()
    assert (state.height, state.first_block) == (42, 21)
    assert folder.newest is not None
    folder.drop(folder.newest)
    await prunes.prune()
    assert state.first_block == 35
    few = Pruning(state, journal, folder, 1, True, lambda: journal.begin)
    await few.prune()
    assert state.first_block == 38, "five are the least"
    none = Pruning(state, journal, folder, 0, True, lambda: journal.begin)
    await none.prune()
    await none.run()
    assert state.first_block == 38
    journal.close()
    state.close()


async def test_where_no_newer_snapshot_comes_the_old_one_goes_with_the_blocks_above_it(
    tmp_path: Path,
) -> None:
    chain = Chain()
    state = await grown(chain, tmp_path / "state", 6)
    folder = SnapshotFolder(tmp_path / "snapshots")
    folder.open()
    taken(chain, state, folder)  # at 6
    await state.commit()
    journal = Journal.open(tmp_path / "journal")
    prunes = Pruning(state, journal, folder, 5, False, lambda: journal.begin)
    await prunes.prune()
    assert (state.first_block, len(folder.snapshots)) == (4, 1)
    for _ in range(20):
        chain.run(state)
    await state.commit()
    await prunes.prune()
    assert (state.first_block, folder.snapshots) == (24, [])
    assert list(folder.directory.iterdir()) == []
    journal.close()
    state.close()


async def test_the_journal_keeps_what_a_restart_reads_and_what_kept_blocks_need(tmp_path: Path) -> None:
    chain = Chain()
    state = await grown(chain, tmp_path / "state", 20)
    folder = SnapshotFolder(tmp_path / "snapshots")
    folder.open()
    journal = Journal.open(tmp_path / "journal", 4_096)
    positions = [journal.append(1, bytes(1_000)) for _ in range(40)]
    assert journal.stats().segments > 9
    replay_from = positions[20]
    prunes = Pruning(state, journal, folder, 5, True, lambda: replay_from)
    await prunes.prune()
    assert journal.begin >> 32 == 0, "made chains have all bodies in the first segment"
    state._segments.prune(2**40)
    for _ in range(5):
        chain.run(state)
    state._segments.prune(2**40)
    await state.commit()
    await prunes.prune()
    assert journal.begin >> 32 == replay_from >> 32
    journal.close()
    state.close()
