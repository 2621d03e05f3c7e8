"""Brings what was executed into LMDB, one transaction at a time, while the loop goes on.

What changed is frozen on the loop's thread, written in a worker, and only then forgotten in memory: a commit
that fails has changed nothing, and its part waits for the next one.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import trio

from prsm_node.storage.accounts import AccountStore
from prsm_node.storage.blocks import BlockStore
from prsm_node.storage.commit_pace import CommitPace
from prsm_node.storage.environment import Environment, MapFull, Write
from prsm_node.storage.generation import OWN, Frozen, Head
from prsm_node.storage.index_upkeep import IndexUpkeep
from prsm_node.storage.journal_use import Segments
from prsm_node.storage.offload import Offload

Meta = Callable[[int], Mapping[bytes, bytes]]
"""From the height that a commit will make durable to values to keep with it."""


class Committer:
    """The only writer of a state's environment once that is open.

    Args:
        durable: the height that is in LMDB.
    """

    def __init__(
        self,
        environment: Environment,
        accounts: AccountStore,
        blocks: BlockStore,
        segments: Segments,
        index: IndexUpkeep,
        pace: CommitPace,
        offload: Offload,
        durable: int,
    ) -> None:
        self._environment = environment
        self._accounts = accounts
        self._blocks = blocks
        self._segments = segments
        self._index = index
        self._pace = pace
        self._offload = offload
        self.durable = durable
        self._staged: dict[bytes, bytes] = {}
        self._writing = trio.Lock()

    @property
    def busy(self) -> bool:
        """Whether a commit is under way."""
        return self._writing.locked()

    def due(self, height: int) -> bool:
        """Whether to commit now, with blocks executed up to this height."""
        changed = height > self.durable or self._blocks.commits_changed or bool(self._staged)
        return changed and not self.busy and self._pace.due(height - self.durable)

    def put_meta(self, key: bytes, value: bytes) -> None:
        """Keep a value of the caller's beside the state; written in the next commit."""
        self._staged[key] = value

    def durable_meta(self, key: bytes) -> bytes | None:
        """Return what the disk holds under this key."""
        return self._environment.get(self._environment.meta, OWN + key)

    def meta(self, key: bytes) -> bytes | None:
        """Return what was kept under this key."""
        if key in self._staged:
            return self._staged[key]
        return self.durable_meta(key)

    async def commit(
        self,
        head: Callable[[], Head],
        meta: Meta | None,
        rests_on: Callable[[], Awaitable[None]] | None,
    ) -> None:
        """State.commit."""
        async with self._writing:
            with trio.CancelScope(shield=True):
                frozen = self._freeze(head(), meta)
                try:
                    if rests_on is not None:
                        await rests_on()
                    await self._write(frozen.bytes_expected, frozen.put)
                except BaseException:
                    self._thaw(frozen)
                    raise
                self._committed(frozen)
                await self._index.write(self.durable)

    async def prune(self, first: int) -> None:
        """Take the blocks below `first` off the disk. Raise StorageError: they are still there. Once begun it
        is carried out even if cancelled."""
        async with self._writing:
            with trio.CancelScope(shield=True):
                pruned = self._blocks.prune(first)
                try:
                    await self._write(pruned.bytes_expected, pruned.put)
                except BaseException:
                    self._blocks.first = pruned.start
                    raise

    def _freeze(self, head: Head, meta: Meta | None) -> Frozen:
        self._staged.update(meta(head.height) if meta is not None else {})
        self._staged.update(self._segments.changed())
        return Frozen(
            head, self._accounts.freeze(), self._blocks.freeze(), dict(self._staged), self._pace.begin()
        )

    async def _write(self, bytes_expected: int, put: Write) -> None:
        while True:
            self._environment.make_room(bytes_expected)
            try:
                await self._offload(partial(self._environment.write, put))
            except MapFull:
                self._environment.double_map()
            else:
                return

    def _thaw(self, frozen: Frozen) -> None:
        self._accounts.thaw()
        self._blocks.thaw()
        self._pace.failed(frozen.transactions)

    def _committed(self, frozen: Frozen) -> None:
        self._accounts.committed()
        self._blocks.committed()
        for key, value in frozen.meta.items():
            if self._staged.get(key) == value:
                del self._staged[key]
        self.durable = frozen.head.height
