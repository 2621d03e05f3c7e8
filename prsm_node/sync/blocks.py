"""Block sync: a node that is behind asks for decided blocks and feeds them to its replica.

A block counts by its commit certificate, checked against the set that its chain names, so that a peer can
delay but not deceive. Batches are fixed by the digests in the certified block. Their signatures are checked
again only near the tip: below a header that a later block certifies the root was checked by an honest
validator unless a quorum is faulty, and the root computed here must match it (PROTOCOL, Joining).
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
import structlog
import trio
import trio.lowlevel

from prsm_node.consensus_host.answers import SyncedBlock, decode_synced
from prsm_node.consensus_host.outbox import Outbox
from prsm_node.wire.payloads import Batch, BlocksWanted, Committed

log = structlog.get_logger("sync")

BLOCKS_AT_ONCE = 32
ANSWER_S = 5.0
# A decider's certificate may arrive before the last votes of its height: a lag of one height is no lag.
BEHIND_S = 0.25
EXECUTE_S = 30.0


class Chain(Protocol):
    """What sync needs of the node."""

    def next_height(self) -> int:
        """The height that is being agreed on."""

    def executed_height(self) -> int: ...

    async def executed(self, height: int) -> None:
        """Return when this height is executed."""

    def take(self, link: int, committed: Committed) -> bool:
        """Feed a decided block; False where it is not what it claims."""

    def store(self, batch: Batch) -> None:
        """Keep a batch that a certified block fixes, its signatures unchecked."""

    def heights(self) -> dict[int, int]:
        """What the peers on our links say they executed."""


class BlockSync:
    """One task; asks one peer at a time and the next one when it fails."""

    def __init__(self, chain: Chain, outbox: Outbox, check: Callable[[int, Batch], Awaitable[bool]]) -> None:
        self.target = 0
        self._chain = chain
        self._outbox = outbox
        self._check = check
        self._hinted = trio.Event()

    @property
    def syncing(self) -> bool:
        """Whether this node is more than a block behind the greatest height heard of."""
        return self.target > self._chain.executed_height() + 1

    def hint(self, height: int, link: int) -> None:
        """Somebody is ahead."""
        if height > self.target:
            self.target = height
        self._hinted.set()

    async def run(self) -> None:
        while True:
            with trio.move_on_after(BEHIND_S):
                await self._hinted.wait()
            self._hinted = trio.Event()
            await self._catch_up()

    def _ahead(self) -> list[int]:
        """Return the links of peers that executed the height we are at, the furthest first."""
        need = self._chain.next_height()
        heights = {link: height for link, height in self._chain.heights().items() if height >= need}
        self.target = max([self.target, *heights.values()], default=0)
        return sorted(heights, key=lambda link: -heights[link])

    async def _catch_up(self) -> None:
        before = self._chain.next_height()
        await trio.lowlevel.checkpoint()
        links = self._ahead()
        if not links and self.target <= before:
            return
        with trio.move_on_after(BEHIND_S):
            # Most often the missing votes are on their way.
            await self._chain.executed(before)
        links = self._ahead() or self._outbox.links()
        for link in links:
            while self._chain.next_height() <= self.target and await self._from(link):
                if len(self._chain.heights()) == 0:
                    return

    async def _from(self, link: int) -> bool:
        """Take one answer's blocks; False when this peer has no more for us."""
        begin = self._chain.next_height()
        answer = await self._outbox.ask(link, BlocksWanted(begin, BLOCKS_AT_ONCE), ANSWER_S)
        if answer is None:
            return False
        try:
            synced = decode_synced(answer)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            self._outbox.fault(link, f"answer to BlocksWanted: {error}")
            return False
        for index, item in enumerate(synced):
            if not await self._take(link, item, certified=index < len(synced) - 2):
                return False
        log.info("caught_up", height=self._chain.next_height() - 1, blocks=len(synced), target=self.target)
        return self._chain.next_height() > begin

    async def _take(self, link: int, item: SyncedBlock, certified: bool) -> bool:
        height = item.committed.block.height
        if height < self._chain.next_height():
            return True
        if height > self._chain.next_height():
            self._outbox.fault(link, "sync.height")
            return False
        for batch in item.batches:
            if certified:
                self._chain.store(batch)
            elif not await self._check(link, batch):
                self._outbox.fault(link, "sync.batch")
                return False
        if not self._chain.take(link, item.committed):
            return False
        with trio.move_on_after(EXECUTE_S):
            await self._chain.executed(height)
        return self._chain.executed_height() >= height
