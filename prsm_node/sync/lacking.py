"""Batches of a block that this node decided itself, asked for whole where they come too slowly one by one.

A task of its own owns these questions: catching up may be waiting for just that block.
"""

from functools import partial

import trio

from consensus.blocks import Block
from prsm_node.consensus_host.answers import Pruned, SyncedBlock, decode_blocks
from prsm_node.sync.chain import Chain
from prsm_node.sync.claims import Claims
from prsm_node.sync.following import complete
from prsm_node.sync.large_blocks import fills, whole
from prsm_node.sync.lookahead import fixed
from prsm_node.sync.sources import Lie, Sources
from prsm_node.unreadable import UNREADABLE
from prsm_node.wire.payloads import BlocksWanted

# Blocks whose batches are lacking here: of one height and those after it.
BODIES_WANTED = 32
RANGE_BYTES_GUESS = 32 * 1024
"""Of one block whose batches are lacking."""


class LackingBodies:
    """The last block that was found to lack some."""

    def __init__(self, chain: Chain, sources: Sources, claims: Claims) -> None:
        self._chain = chain
        self._sources = sources
        self._claims = claims
        self._lacking: Block | None = None
        self._lacked = trio.Event()

    def lack(self, block: Block) -> None:
        """This block is decided here, but its batches come too slowly one by one along their lanes."""
        self._lacking = block
        self._lacked.set()

    async def run(self) -> None:
        while True:
            await self._lacked.wait()
            self._lacked = trio.Event()
            block, self._lacking = self._lacking, None
            if block is not None:
                await self._bodies(block)

    async def _bodies(self, block: Block) -> None:
        """Bring in the batches of a block that we decided, from who executed it, and of those after it."""
        besides: set[int] = set()
        while self._chain.executed_height() < block.height:
            count = min(BODIES_WANTED, max(1, self._claims.target - block.height + 1))
            found = await self._sources.get(
                BlocksWanted(block.height, count),
                lambda: self._claims.who(block.height),
                lambda link, answer: (link, self._bodies_of(block, link, answer)),
                count * RANGE_BYTES_GUESS,
                besides,
            )
            if found is None:
                return
            link, synced = found
            if not synced:
                continue  # it keeps no block so old, and is asked no more for those
            if synced[0].left:
                try:
                    first = await self._whole(synced[0])
                except Lie as lie:
                    self._sources.lied(link, lie.reason)
                    besides.add(link)
                    continue
                synced = (first, *synced[1:])
            for item in synced:
                for batch in item.batches:
                    if not await self._chain.check(link, batch):
                        besides.add(link)
            if link not in besides:
                return

    async def _whole(self, item: SyncedBlock) -> SyncedBlock:
        """Bring in what a large block came without, as far as peers give it. Raise Lie."""
        height = item.committed.block.height
        if self._chain.executed_height() != height - 1:
            return item
        who = partial(self._claims.who, height)
        made = await whole(item, self._chain.executed_tip, self._sources, who, self._chain.signed)
        return item if made is None else made

    def _bodies_of(self, block: Block, link: int, answer: bytes) -> tuple[SyncedBlock, ...]:
        """Return what a peer gives, nothing where it pruned that. Raise Lie. Who leaves batches out lies too:
        else the quickest could keep us from asking others."""
        synced = _bodies_of(block, answer)
        if isinstance(synced, Pruned):
            self._claims.note_pruned(link, synced.first)
            return ()
        if self._chain.executed_height() == block.height - 1 and not synced[0].left:
            complete(block, synced[0].batches, self._chain.executed_tip)
        return synced


def _bodies_of(block: Block, answer: bytes) -> tuple[SyncedBlock, ...] | Pruned:
    """Return blocks with their batches, the first being this one, or that it is pruned. Raise Lie."""
    try:
        synced = decode_blocks(answer)
    except UNREADABLE:
        raise Lie("sync.unreadable") from None
    if isinstance(synced, Pruned):
        if synced.first <= block.height:
            raise Lie("sync.height")  # it says that it has what it was asked for
        return synced
    if not synced or synced[0].committed.block != block:
        raise Lie("sync.batch")
    if not all(fixed(item.committed.block, item.batches) for item in synced):
        raise Lie("sync.batch")
    if any(item.left and not fills(item.batches) for item in synced):
        raise Lie("sync.batch")
    return synced
