"""Snapshots on the disk: whole or not there wherever a crash falls, and a state made of one goes on alike."""

import os
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from prsm_node.ledger.bucket_groups import GROUP_ACCOUNTS, GROUP_BYTES
from prsm_node.storage import restoring, snapshot_archive, snapshot_manifest
from prsm_node.storage.environment import Environment
from prsm_node.storage.errors import StorageError
from prsm_node.storage.restoring import restore
from prsm_node.storage.snapshot_archive import ArchiveFault
from prsm_node.storage.snapshot_folder import SnapshotFolder
from prsm_node.storage.snapshot_manifest import BrokenManifest, Manifest
from tests.storage.made_chain import Chain, address
from tests.storage.made_snapshots import grown, manifest_of, snapshot_of, taken

ACCOUNTS = 5_000  # two groups


class Killed(BaseException):
    """As kill -9: nothing that would tidy up runs."""


class Crash:
    """Kills at the n-th call of what changes the disk."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int, *places: tuple[Any, str]) -> None:
        self.calls = 0
        for owner, name in places:
            patch.setattr(owner, name, self._counted(getattr(owner, name), at))

    def _counted(self, real: Callable[..., Any], at: int) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == at:
                raise Killed
            return real(*arguments, **named)

        return call


async def test_a_crash_at_any_step_leaves_a_whole_snapshot_or_none(tmp_path: Path) -> None:
    chain = Chain(ACCOUNTS)
    state = await grown(chain, tmp_path / "state", 2)
    seen = set()
    for at in range(1, 40):
        await state.commit()
        folder = SnapshotFolder(tmp_path / "snapshots")
        assert folder.open() == []
        before = [snapshot.height for snapshot in folder.snapshots]
        height = state.height
        with pytest.MonkeyPatch.context() as patch:
            places = (os, "fsync"), (Path, "rename"), (Path, "mkdir"), (Path, "open"), (os, "rmdir")
            crash = Crash(patch, at, *places)
            try:
                taken(chain, state, folder)
            except Killed:
                state.end_copy()
        again = SnapshotFolder(tmp_path / "snapshots")
        assert again.open() == []
        heights = [snapshot.height for snapshot in again.snapshots]
        assert heights in (before, [*before, height], [*before, height][-2:])
        seen.add(height in heights)
        for snapshot in again.snapshots:
            for index in range(len(snapshot.manifest.groups)):
                snapshot.group(index)
        names = {path.name for path in (tmp_path / "snapshots").iterdir()}
        assert names == {f"{height:012d}" for height in heights}, "no draft is left"
        if crash.calls < at and len(heights) == 2:
            break
    else:
        raise AssertionError("there are more steps than were tried")
    assert seen == {True, False}
    state.close()


async def test_a_state_made_of_a_snapshot_goes_on_as_the_one_it_was_taken_of(tmp_path: Path) -> None:
    chain = Chain(ACCOUNTS)
    state, _, snapshot = await snapshot_of(chain, tmp_path, 5)
    restore(snapshot, chain.genesis, {b"mine": b"kept"}, tmp_path / "other" / "state")

    other = chain.open(tmp_path / "other" / "state")
    assert (other.height, other.first_block, other.meta(b"mine")) == (5, 6, b"kept")
    assert other.block(5) is None
    assert other.transactions.history(address(1)) == []
    root, block = state.state_root(6), state.block(6)
    assert root is not None
    assert block is not None
    for height in (6, 7):
        kept = state.block(height)
        assert kept is not None
        bodies = [chain.read_body(batch.position) for batch in kept.record.batches]
        other.execute(kept.record.block, kept.record.digest, kept.commit, kept.record.batches, bodies)
        assert other.state_root(height) == kept.record.state_root
    await other.commit()
    assert other.head == state.head
    assert [item.height for item in other.transactions.history(address(1), 9)] == [7, 6]
    other.close()
    chain.open(tmp_path / "other" / "state").close()
    state.close()


async def test_a_crash_at_any_step_of_restoring_leaves_no_state_or_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "GROUPS_AT_ONCE", 1)
    monkeypatch.setattr(restoring, "ADDRESSES_A_PASS", 1_500)
    chain = Chain(ACCOUNTS)
    state, _, snapshot = await snapshot_of(chain, tmp_path, 1)
    made = tmp_path / "made"
    for at in range(1, 40):
        with pytest.MonkeyPatch.context() as patch:
            crash = Crash(patch, at, (Environment, "write"), (Path, "rename"), (os, "fsync"))
            try:
                restore(snapshot, chain.genesis, {}, made)
            except Killed:
                if not made.exists():
                    continue
        opened = chain.open(made)
        assert opened.head == snapshot.manifest.head
        assert opened.account(address(ACCOUNTS - 1)) is not None
        opened.close()
        if crash.calls < at:
            break
        made.rename(tmp_path / f"made-{at}")
    else:
        raise AssertionError("there are more steps than were tried")
    assert at > 8, "each transaction was a step"
    state.close()


async def test_a_damaged_group_is_neither_served_nor_restored(tmp_path: Path) -> None:
    chain = Chain(ACCOUNTS)
    state, _, snapshot = await snapshot_of(chain, tmp_path, 1)
    state.close()
    with (snapshot.path / "groups").open("r+b") as file:
        file.seek(GROUP_BYTES + 5)
        file.write(b"\xff")
    assert len(snapshot.group(0)) == GROUP_BYTES
    with pytest.raises(StorageError, match=r"group 1 .* is damaged; delete that folder"):
        snapshot.group(1)
    with pytest.raises(StorageError):
        restore(snapshot, chain.genesis, {}, tmp_path / "made")
    assert not (tmp_path / "made").exists()
    os.truncate(snapshot.path / "groups", GROUP_BYTES + 100)
    with pytest.raises(StorageError, match="is damaged"):
        snapshot.group(1)
    (snapshot.path / "manifest").write_bytes(b"nonsense")
    damaged = SnapshotFolder(tmp_path / "snapshots")
    (sentence,) = damaged.open()
    assert "is damaged" in sentence
    assert damaged.snapshots == []


async def test_a_manifest_that_does_not_hold_together_is_refused(tmp_path: Path) -> None:
    chain = Chain(ACCOUNTS)
    state = await grown(chain, tmp_path / "state", 3)
    good = manifest_of(chain, state)
    state.close()
    assert snapshot_manifest.decode(snapshot_manifest.encode(good)) == good
    encoded = snapshot_manifest.encode(good)
    for data in (b"", encoded[:-1], encoded + b"\0", b"\x91" * 100_000, bytes(2**24)):
        with pytest.raises(BrokenManifest):
            snapshot_manifest.decode(data)

    def refused(says: str, **changes: Any) -> None:
        with pytest.raises(BrokenManifest, match=says):
            snapshot_manifest.decode(snapshot_manifest.encode(msgspec.structs.replace(good, **changes)))

    def head(**changes: Any) -> Any:
        return msgspec.structs.replace(good.head, **changes)

    first, above, naming = good.blocks
    refused("groups are 1", groups=good.groups[:1])
    refused("groups are 3", groups=(*good.groups, bytes(32)))
    refused("lead to head.root", groups=good.groups[::-1])
    refused("lead to head.root", head=head(accounts=good.accounts + 1))
    refused("two above names", head=head(root=bytes(32)))
    refused("groups are 2, of", head=head(accounts=2**60))
    refused(r"can.t be read", head=head(accounts=-1))
    refused("not that of the block", head=head(digest=bytes(32)))
    refused("not that of the block", head=head(time_ms=1))
    refused("head.schema", head=head(schema=99))
    refused("not those of height", head=head(height=4))
    refused("do not follow", blocks=(first, msgspec.structs.replace(above, time_ms=9), naming))
    refused("another block", certificate=msgspec.structs.replace(good.certificate, height=4))
    supply = msgspec.structs.replace(good.head.supply, minted=2**62)
    refused("lead to head.root", head=head(supply=supply))


async def test_one_that_is_let_go_while_it_is_exported_is_a_sentence_and_no_file(tmp_path: Path) -> None:
    chain = Chain(ACCOUNTS)
    state, folder, snapshot = await snapshot_of(chain, tmp_path, 1)
    state.close()

    def let_go(done: int, count: int) -> None:
        if done == 1:
            folder.drop(snapshot)

    with pytest.raises(ArchiveFault, match="let go for a newer one meanwhile"):
        snapshot_archive.write(snapshot, tmp_path / "file", let_go)
    assert set(os.listdir(tmp_path)) == {"state", "snapshots"}


async def test_two_snapshots_are_kept(tmp_path: Path) -> None:
    chain = Chain(100)
    state = await grown(chain, tmp_path / "state", 1)
    folder = SnapshotFolder(tmp_path / "snapshots")
    folder.open()
    manifests: list[Manifest] = []
    for _ in range(4):
        await state.commit()
        manifests.append(taken(chain, state, folder))
    state.close()
    assert [snapshot.manifest for snapshot in folder.snapshots] == manifests[-2:]
    again = SnapshotFolder(tmp_path / "snapshots")
    again.open()
    assert [snapshot.height for snapshot in again.snapshots] == [m.height for m in manifests[-2:]]
    assert len(list((tmp_path / "snapshots").iterdir())) == 2


async def test_what_a_full_disk_took_of_a_snapshot_is_gone_with_it(tmp_path: Path) -> None:
    """Else the disk stays full, and the journal's turn comes next."""
    state = await grown(Chain(GROUP_ACCOUNTS), tmp_path / "state", 2)
    copy = state.copy_accounts()
    folder = SnapshotFolder(tmp_path / "snapshots")
    folder.open()
    draft = folder.draft(2, copy.count)
    draft.add(copy.read(), copy.groups[0])
    draft.add(copy.read(), copy.groups[1])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (GROUP_BYTES, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            draft.sync()
        with suppress(OSError):
            draft.drop()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(folder.directory.iterdir()) == []
    state.end_copy()
    state.close()
