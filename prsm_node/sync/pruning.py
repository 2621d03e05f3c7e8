"""Lets old blocks go: their records and indexes, and the parts of the journal that only they needed.

What is never pruned: the last blocks, from which late peers are answered and restarts read; what a kept
snapshot needs above it; what is not in LMDB yet; and in the journal all that a restart would read.
"""

from collections.abc import Callable

import structlog
import trio

from prsm_node.storage.errors import StorageError
from prsm_node.storage.journal import Journal
from prsm_node.storage.snapshot_folder import Snapshot, SnapshotFolder
from prsm_node.storage.state import State

log = structlog.get_logger("pruning")

# Answers look at 64 decisions back, strengths at 4 ahead; a validator away for a minute finds its blocks.
RETAIN_MIN = 256
# Fewer are not worth a transaction of their own.
AT_ONCE_MIN = 64
LOOK_EVERY_S = 5.0


class Pruning:
    """One task. Args:
    retain: how many of the last blocks are kept; 0 keeps all. Raised to RETAIN_MIN.
    renewed: whether newer snapshots come: those that are kept then hold back the blocks above them; else
        they go with those blocks.
    replay_from: where in the journal a restart would begin to read, by what is on the disk.
    """

    def __init__(
        self,
        state: State,
        journal: Journal,
        folder: SnapshotFolder,
        retain: int,
        renewed: bool,
        replay_from: Callable[[], int],
    ) -> None:
        self._state = state
        self._journal = journal
        self._folder = folder
        self._retain = max(retain, RETAIN_MIN) if retain else 0
        self._renewed = renewed
        self._replay_from = replay_from

    @property
    def first_kept(self) -> int:
        """The lowest height that must be kept now."""
        if not self._retain:
            return self._state.first_block
        snapshots = [snapshot.height + 1 for snapshot in self._folder.snapshots if self._renewed]
        last = self._state.durable_height - self._retain + 1
        return max(self._state.first_block, min([last, *snapshots]))

    async def run(self) -> None:
        """For ever. A disk that fails is told here, and ends the daemon where something rests on it."""
        while self._retain:
            try:
                await self.prune()
            except StorageError as error:
                log.warning("pruning_failed", why=str(error))
            await trio.sleep(LOOK_EVERY_S)

    async def prune(self) -> None:
        """Let go of what may go now, if it is worth it."""
        first, before = self.first_kept, self._state.first_block
        if first < before + AT_ONCE_MIN:
            return
        await self._state.prune(first)
        for snapshot in [kept for kept in self._folder.snapshots if kept.height + 1 < first]:
            self._drop(snapshot)
        needed = [self._replay_from()]
        if (bodies := self._state.bodies_from) is not None:
            needed.append(bodies)
        segments = self._journal.drop_before(min(needed))
        log.info("pruned", blocks=first - before, first=first, segments=segments)

    def _drop(self, snapshot: Snapshot) -> None:
        """No block follows on it here any more: nobody can begin with it."""
        try:
            self._folder.drop(snapshot)
        except OSError as error:
            log.warning("snapshot_not_deleted", height=snapshot.height, why=error.strerror)
