"""Snapshots are taken at their heights while blocks go on; what fails is told and harms nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from prsm_node.storage import accounts_copy
from prsm_node.storage.snapshot_folder import SnapshotFolder
from prsm_node.storage.state import State
from prsm_node.sync.snapshot_taking import SnapshotTaking
from tests.storage.made_chain import Chain


class Node:
    """What the executor does with the state, without agreement."""

    def __init__(self, chain: Chain, directory: Path, every: int) -> None:
        self.chain = chain
        self.state: State = chain.open(directory / "state")
        self.folder = SnapshotFolder(directory / "snapshots")
        self.folder.open()
        self.taking = SnapshotTaking(self.state, self.folder, every, lambda: ())

    async def blocks(self, count: int) -> None:
        for _ in range(count):
            self.chain.run(self.state)
            self.taking.grown()
            if self.taking.due(self.state.height):
                await self.state.commit()
                self.taking.begin()
            await trio.lowlevel.checkpoint()

    async def holds(self, what: Callable[[], bool]) -> None:
        with trio.fail_after(10):
            while not what():  # noqa: ASYNC110
                await trio.sleep(0.005)


async def test_a_snapshot_is_of_its_height_and_whole_two_blocks_later(tmp_path: Path) -> None:
    node = Node(Chain(5_000), tmp_path, every=4)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.taking.run)
        await node.blocks(5)
        assert node.folder.newest is None
        await node.blocks(4)
        await node.holds(lambda: node.taking.counters["taken"] == 1)
        snapshot = node.folder.newest
        assert snapshot is not None
        assert (snapshot.height, snapshot.manifest.head.root) == (4, node.state.state_root(4))
        assert [block.height for block in snapshot.manifest.blocks] == [4, 5, 6]
        for index in range(len(snapshot.manifest.groups)):
            snapshot.group(index)
        nursery.cancel_scope.cancel()
    node.state.close()


async def test_with_0_none_is_taken(tmp_path: Path) -> None:
    node = Node(Chain(), tmp_path, every=0)
    assert not any(node.taking.due(height) for height in range(100))
    node.state.close()


async def test_one_that_pruning_overtakes_is_given_up_and_the_next_is_taken(tmp_path: Path) -> None:
    """A sync passes a thousand blocks a second, and a slow disk takes seconds for a snapshot."""
    node = Node(Chain(5_000), tmp_path, every=4)
    await node.blocks(9)
    await node.state.commit()
    await node.state.prune(8)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.taking.run)
        await node.holds(lambda: node.taking.counters["failed"] == 1)
        await trio.testing.wait_all_tasks_blocked()
        await node.blocks(6)
        await node.holds(lambda: node.taking.counters["taken"] == 1)
        nursery.cancel_scope.cancel()
    assert [snapshot.height for snapshot in node.folder.snapshots] == [12]
    node.state.close()


@pytest.mark.parametrize("why", ["overrun", "disk"])
async def test_one_that_fails_is_counted_leaves_nothing_and_the_next_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    node = Node(Chain(5_000), tmp_path, every=2)
    with monkeypatch.context() as patch:
        if why == "overrun":
            patch.setattr(accounts_copy, "KEPT_MAX", -1)
        else:
            patch.setattr(SnapshotFolder, "room_for", lambda self, size_bytes: False)
        async with trio.open_nursery() as nursery:
            await node.blocks(3)
            await node.state.commit()
            nursery.start_soon(node.taking.run)
            await node.holds(lambda: node.taking.counters["failed"] == 1)
            nursery.cancel_scope.cancel()
    assert list((tmp_path / "snapshots").iterdir()) == []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.taking.run)
        await trio.testing.wait_all_tasks_blocked()
        await node.blocks(4)
        await node.holds(lambda: node.taking.counters["taken"] == 1)
        nursery.cancel_scope.cancel()
    node.state.close()
