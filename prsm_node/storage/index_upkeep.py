"""Writes, merges and prunes the runs of the transaction index in worker threads, while the loop goes on."""

from functools import partial

import trio

from prsm_node.storage.errors import StorageError
from prsm_node.storage.offload import Offload
from prsm_node.storage.transaction_index import TransactionIndex


class IndexUpkeep:
    """One at a time of merging and pruning; a run is written beside them."""

    def __init__(self, index: TransactionIndex, offload: Offload) -> None:
        self._index = index
        self._offload = offload
        self._changing = trio.Lock()

    async def write(self, durable: int) -> None:
        """Write a run of what is durable up to this height, if there is enough for one. Raise
        StorageError."""
        plan = self._index.plan(durable)
        if plan is None:
            return
        try:
            self._index.written(await self._offload(partial(self._index.write_run, plan)))
        except OSError as error:
            raise StorageError(
                f"the transaction index in {self._index.directory} cannot be written: {error}; the state"
                f" itself was; free some space"
            ) from None

    async def merge(self) -> bool:
        """Merge some runs, if there are enough; tell whether. Once begun it ends, even if cancelled."""
        if self._changing.locked() or not (wanted := self._index.merge_wanted()):
            return False
        with trio.CancelScope(shield=True):
            async with self._changing:
                try:
                    run = await self._offload(partial(self._index.merge, wanted))
                except OSError:
                    # Look-ups work on the parts as well; when the disk has room again, so will the merge.
                    return False
                self._index.merged(wanted, run)
        return True

    async def prune(self, first: int) -> None:
        """Forget the runs that lie wholly below `first`."""
        async with self._changing:
            self._index.prune(first)
