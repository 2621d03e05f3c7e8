"""Takes a snapshot of the state every so many blocks, while the chain goes on.

The executor commits the state at that height and says so; the accounts are then copied group by group
(storage/accounts_copy.py), checked and written in a worker thread. The block that names the root comes two
heights later, and with its certificate the snapshot is whole. One that fails is told and forgotten: nothing
rests on it.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec
import structlog
import trio

from consensus.dissemination.batches import BatchHeader
from prsm_node.ledger.bucket_groups import GROUP_BYTES
from prsm_node.storage import set_changes
from prsm_node.storage.accounts_copy import AccountsCopy
from prsm_node.storage.errors import StorageError
from prsm_node.storage.generation import Head
from prsm_node.storage.offload import Offload
from prsm_node.storage.snapshot_folder import Draft, SnapshotFolder
from prsm_node.storage.snapshot_manifest import Manifest
from prsm_node.storage.state import State

log = structlog.get_logger("snapshots")

ROOT_AFTER = 2
"""Heights until a block names the root (PROTOCOL, Blocks 1)."""


class Heads(Protocol):
    def __call__(self) -> tuple[BatchHeader, ...]:
        """Return the last batch ordered of each lane, as of the state's height."""


class _Begun(msgspec.Struct, frozen=True):
    copy: AccountsCopy
    head: Head
    lanes: tuple[BatchHeader, ...]


class SnapshotTaking:
    """The executor's Snapshots, and the task that does the work."""

    def __init__(
        self,
        state: State,
        folder: SnapshotFolder,
        every: int,
        heads: Heads,
        offload: Offload = trio.to_thread.run_sync,
    ) -> None:
        """`every`: how many blocks from one to the next; 0 takes none."""
        self._state = state
        self._folder = folder
        self._every = every
        self._heads = heads
        self._offload = offload
        self._begun: _Begun | None = None
        self._moved = trio.Event()
        self.counters: dict[str, int] = {"taken": 0, "failed": 0}

    def due(self, height: int) -> bool:
        return self._every > 0 and height % self._every == 0 and self._begun is None

    def begin(self) -> None:
        self._begun = _Begun(self._state.copy_accounts(), self._state.head, self._heads())
        self._moved.set()

    def grown(self) -> None:
        """A block was executed."""
        self._moved.set()

    async def idle(self) -> None:
        """Return when none is being taken."""
        await self._until(lambda: self._begun is None)

    async def run(self) -> None:
        """Take what is begun, for ever."""
        while True:
            begun = self._begun
            if begun is not None:
                try:
                    await self._take(begun)
                except (OSError, StorageError) as error:
                    self.counters["failed"] += 1
                    log.warning("snapshot_failed", height=begun.head.height, why=str(error))
                finally:
                    self._state.end_copy()
                self._begun = None
                self._moved.set()
            await self._until(lambda: self._begun is not None)

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            if self._moved.is_set():
                self._moved = trio.Event()
            await self._moved.wait()

    async def _take(self, begun: _Begun) -> None:
        copy, height = begun.copy, begun.head.height
        if not self._folder.room_for(copy.group_count * GROUP_BYTES):
            raise StorageError(f"the disk of {self._folder.directory} has no room for a snapshot; free some")
        began = trio.current_time()
        draft = await self._offload(partial(self._folder.draft, height, copy.count))
        try:
            await self._copy(copy, draft)
            taken_s = trio.current_time() - began
            await self._until(lambda: self._state.height >= height + ROOT_AFTER)
            manifest = self._manifest(begun)
            await self._offload(partial(self._folder.finish, draft.path, manifest))
        except BaseException:
            draft.drop()
            raise
        self.counters["taken"] += 1
        log.info("snapshot", height=height, accounts=copy.count, seconds=round(taken_s, 3))

    async def _copy(self, copy: AccountsCopy, draft: Draft) -> None:
        while not copy.done:
            expected = copy.groups[copy.index]
            group = copy.read()
            await self._offload(partial(draft.add, group, expected))
        self._state.end_copy()
        await self._offload(draft.sync)

    def _manifest(self, begun: _Begun) -> Manifest:
        height = begun.head.height
        stored = [self._state.block(h) for h in range(height, height + ROOT_AFTER + 1)]
        found = [block for block in stored if block is not None]
        if len(found) < ROOT_AFTER + 1:
            # While blocks pass by the thousand, as in a sync, a slow disk is overtaken by pruning.
            raise StorageError(f"the blocks above {height} were pruned before it was whole; the next comes")
        block, above, naming = (one.record.block for one in found)
        blocks = (block, above, naming)
        changes = set_changes.kept(self._state, below=naming.height)
        return Manifest(begun.head, begun.lanes, begun.copy.groups, blocks, found[-1].commit, changes)
