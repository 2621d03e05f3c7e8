"""Snapshots of made chains: whole but for certificates and signatures, which storage does not look at."""

from pathlib import Path

from consensus.certificates import Certificate
from prsm_node.storage import set_changes
from prsm_node.storage.snapshot_folder import Snapshot, SnapshotFolder
from prsm_node.storage.snapshot_manifest import Manifest
from prsm_node.storage.state import State
from tests.storage.made_chain import Chain


def taken(chain: Chain, state: State, folder: SnapshotFolder) -> Manifest:
    """Take a snapshot of the state, all of it committed, and execute the two blocks above that name it."""
    copy, head = state.copy_accounts(), state.head
    draft = folder.draft(head.height, copy.count)
    while not copy.done:
        expected = copy.groups[copy.index]
        draft.add(copy.read(), expected)
    state.end_copy()
    draft.sync()
    manifest = manifest_of(chain, state)
    folder.finish(draft.path, manifest)
    return manifest


def manifest_of(chain: Chain, state: State) -> Manifest:
    """The manifest of the state as it stands, and the two blocks above."""
    head, groups = state.head, state.copy_accounts().groups
    state.end_copy()
    chain.run(state)
    chain.run(state)
    blocks, commits = [], []
    for height in range(head.height, head.height + 3):
        stored = state.block(height)
        assert stored is not None
        blocks.append(stored.record.block)
        commits.append(stored.commit)
    certificate: Certificate = commits[-1]
    changes = set_changes.kept(state, below=head.height + 2)
    return Manifest(head, (), groups, (blocks[0], blocks[1], blocks[2]), certificate, changes)


async def grown(chain: Chain, directory: Path, height: int) -> State:
    """A state of so many blocks, committed."""
    state = chain.open(directory)
    for _ in range(height):
        chain.run(state)
    await state.commit()
    return state


async def snapshot_of(chain: Chain, path: Path, height: int) -> tuple[State, SnapshotFolder, Snapshot]:
    """A state of so many blocks in `path`/state, the folder `path`/snapshots and its one snapshot, of this
    height; two more blocks stand above it."""
    state = await grown(chain, path / "state", height)
    folder = SnapshotFolder(path / "snapshots")
    folder.open()
    taken(chain, state, folder)
    assert folder.newest is not None
    return state, folder, folder.newest
