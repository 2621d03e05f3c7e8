"""Block sync: a node that is behind asks for decided blocks and feeds them to its replica.

A block counts by its commit certificate, checked against the set that its chain names, so that a peer can
delay but not deceive. Batches are fixed by the digests in the certified block: nothing else is kept. How high
a peer says it is counts until it fails to show it. Their signatures are checked
again only near the tip: below a header that a later block certifies the root was checked by an honest
validator unless a quorum is faulty, and the root computed here must match it (PROTOCOL, Joining). With
sync.verify = "all" every signature is checked.
"""

from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Protocol

import structlog
import trio
import trio.lowlevel

from consensus.blocks import Block
from consensus.dissemination.batches import batch_digest
from prsm_node.consensus_host.answers import SyncedBlock, decode_synced
from prsm_node.consensus_host.outbox import Outbox
from prsm_node.unreadable import UNREADABLE
from prsm_node.wire.payloads import Batch, BlocksWanted, Committed

log = structlog.get_logger("sync")

BLOCKS_AT_ONCE = 32
ANSWER_S = 5.0
# A decider's certificate may arrive before the last votes of its height: a lag of one height is no lag.
BEHIND_S = 0.5
# A node so near goes on by votes and forwarded certificates as long as these come.
NEAR_HEIGHTS = 8
EXECUTE_S = 30.0
# Who had nothing to show for its height is not believed, and not asked first, for so long.
DOUBT_S = 30.0
# Of 64 links, and of those that came and went within that time.
DOUBTED_MAX = 256


class Chain(Protocol):
    """What sync needs of the node."""

    def next_height(self) -> int:
        """The height that is being agreed on."""

    def executed_height(self) -> int: ...

    async def executed(self, height: int) -> None:
        """Return when this height is executed."""

    def decided(self, link: int, committed: Committed) -> bool:
        """Check a block's commit certificate; False, and the link's fault, where it is not what it claims."""

    def take(self, link: int, committed: Committed) -> bool:
        """Feed a decided block; False where it is not what it claims."""

    def store(self, batch: Batch) -> bool:
        """Keep a batch that a certified block fixes, its transactions' signatures unchecked; False where its
        author's is not good."""

    def heights(self) -> dict[int, int]:
        """What the peers on our links say they executed."""

    def validates(self, link: int) -> bool:
        """Whether the peer proved to be a validator: among those who claim much it is asked first."""


class BlockSync:
    """One task; asks one peer at a time and the next one when it fails."""

    def __init__(
        self,
        chain: Chain,
        outbox: Outbox,
        check: Callable[[int, Batch], Awaitable[bool]],
        *,
        verify_all: bool = False,
    ) -> None:
        """`check` takes a batch only if every signature in it is good, and blames the link; `verify_all`
        has it asked for batches below certified headers too."""
        self._chain = chain
        self._outbox = outbox
        self._check = check
        self._verify_all = verify_all
        self._hinted = trio.Event()
        self._lacking: Block | None = None
        self._proven = 0
        self._doubted: dict[int, float] = {}

    @property
    def target(self) -> int:
        """The greatest height that a certificate proved or a peer claims who was not found to lie."""
        return max([self._proven, *self._claims().values()])

    @property
    def syncing(self) -> bool:
        """Whether this node is more than a block behind the greatest height heard of."""
        return self.target > self._chain.executed_height() + 1

    def hint(self, height: int, link: int) -> None:
        """A checked certificate of this height says that somebody is ahead."""
        self._proven = max(self._proven, height)
        self._hinted.set()

    def wake(self) -> None:
        """A peer claims to be ahead."""
        self._hinted.set()

    def lack(self, block: Block) -> None:
        """This block is decided here, but its batches come too slowly one by one along their lanes."""
        self._lacking = block
        self._hinted.set()

    async def run(self) -> None:
        while True:
            with trio.move_on_after(BEHIND_S):
                await self._hinted.wait()
            self._hinted = trio.Event()
            if (block := self._lacking) is not None:
                self._lacking = None
                await self._bodies(block)
            await self._catch_up()

    async def _bodies(self, block: Block) -> None:
        """Bring in the batches of a block that we decided, from who executed it, and of those after it."""
        heights = self._claims()
        for link in sorted(heights, key=lambda link: -heights[link]):
            count = min(BLOCKS_AT_ONCE, heights[link] - block.height + 1)
            if count < 1 or self._chain.executed_height() >= block.height:
                return
            answer = await self._outbox.ask(link, BlocksWanted(block.height, count), ANSWER_S)
            try:
                synced = decode_synced(answer) if answer is not None else ()
            except UNREADABLE:
                self._outbox.fault(link, "sync.unreadable")
                continue
            if not synced:
                continue
            if synced[0].committed.block != block:
                self._outbox.fault(link, "sync.batch")
                continue
            for item in synced:
                if not await self._keep(link, item, certified=False):
                    break
            else:
                return

    async def _keep(self, link: int, item: SyncedBlock, certified: bool) -> bool:
        """Keep the batches of a block; False, and the link's fault, at the first that it does not order or
        that is forged. Those below a certified header are checked only if all are to be."""
        if fixed(item.committed.block, item.batches):
            for batch in item.batches:
                unchecked = certified and not self._verify_all
                if not (self._chain.store(batch) if unchecked else await self._check(link, batch)):
                    break
            else:
                return True
        self._outbox.fault(link, "sync.batch")
        return False

    def _claims(self) -> dict[int, int]:
        now = trio.current_time()
        heights = self._chain.heights()
        return {link: height for link, height in heights.items() if self._doubted.get(link, 0.0) <= now}

    def _ahead(self) -> list[int]:
        """Return the links of peers that say they executed the height we are at: validators first, then the
        furthest."""
        need = self._chain.next_height()
        claims = {link: height for link, height in self._claims().items() if height >= need}
        return sorted(claims, key=lambda link: (not self._chain.validates(link), -claims[link]))

    def _doubt(self, link: int, height: int) -> None:
        """If it says that it has this height: it was asked, and gave nothing."""
        if self._chain.heights().get(link, 0) < height:
            return
        self._doubted.pop(link, None)
        self._doubted[link] = trio.current_time() + DOUBT_S
        while len(self._doubted) > DOUBTED_MAX:
            del self._doubted[next(iter(self._doubted))]
        self._outbox.fault(link, "sync.unproven_height")

    async def _catch_up(self) -> None:
        before = self._chain.next_height()
        await trio.lowlevel.checkpoint()
        links = self._ahead()
        if not links and self.target <= before:
            return
        with trio.move_on_after(BEHIND_S):
            # Most often the missing votes are on their way.
            await self._chain.executed(before)
        if before < self._chain.next_height() and self.target < self._chain.next_height() + NEAR_HEIGHTS:
            return  # agreement itself moves on
        links = self._ahead() or self._outbox.links()
        for link in links:
            while self._chain.next_height() <= self.target and await self._from(link):
                if len(self._chain.heights()) == 0:
                    return

    async def _from(self, link: int) -> bool:
        """Take one answer's blocks; False when this peer has no more for us."""
        begin = self._chain.next_height()
        # Bodies are large: no more than is missing.
        count = min(BLOCKS_AT_ONCE, max(1, self.target - begin + 1))
        answer = await self._outbox.ask(link, BlocksWanted(begin, count), ANSWER_S)
        if answer is None:
            self._doubt(link, begin)
            return False
        try:
            synced = decode_synced(answer)
        except UNREADABLE:
            self._outbox.fault(link, "sync.unreadable")
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
        if not self._chain.decided(link, item.committed):
            return False
        if not await self._keep(link, item, certified):
            return False
        if not self._chain.take(link, item.committed):
            return False
        with trio.move_on_after(EXECUTE_S):
            await self._chain.executed(height)
        return self._chain.executed_height() >= height


def fixed(block: Block, batches: Sequence[Batch]) -> bool:
    """Whether each batch is one that the block orders: its digest is a tip's or its child's parent, and its
    body the one that its header names."""
    by_digest = {batch_digest(batch.header): batch for batch in batches}
    named = 0
    for tip in block.tips:
        digest = tip.digest
        while (batch := by_digest.pop(digest, None)) is not None:
            named += sha256(batch.body).digest() == batch.header.body
            digest = batch.header.parent
    return named == len(batches)
