"""Blocks fetched ahead of execution, from several peers at once, and handed over in order of height.

The heights up to the target are cut into ranges of about a mebibyte; each is somebody's (sources.py). What is
on its way and what waits to be executed is bounded in blocks and in bytes. An answer is judged here as far as
it speaks for itself: its heights, hashes and batches fit together, and the certificates are for these blocks.
Their signatures are checked in order, by following.py.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from hashlib import sha256
from typing import Final

import msgspec
import trio

from consensus.blocks import Block, block_digest
from consensus.dissemination.batches import batch_digest
from consensus.votes import VoteKind
from prsm_node.consensus_host.answers import Pruned, SyncedBlock, decode_blocks
from prsm_node.sync.large_blocks import fills
from prsm_node.sync.sources import Lie, Sources
from prsm_node.unreadable import UNREADABLE
from prsm_node.wire.payloads import BLOCKS_WANTED_MAX, Batch, BlocksWanted

MIB: Final = 1024 * 1024
# One range: large enough that its question costs nothing, small enough that a slow peer holds up little.
RANGE_BYTES: Final = MIB
# Two questions to each of four peers.
RANGES_OPEN_MAX: Final = 8
# A second of empty blocks and half a second of full ones, for a peer that stumbles.
AHEAD_BLOCKS_MAX: Final = 1_024
AHEAD_BYTES_MAX: Final = 32 * MIB
# What a block is taken for before the first answer: with tips and certificate of four validators.
BLOCK_BYTES: Final = 4 * 1024
BYTES_WEIGHT: Final = 0.2
"""Of the last answer in the guess of a block's size."""


class Arrived(msgspec.Struct, frozen=True):
    """A block as a peer gave it, nothing in it checked but that it fits together."""

    link: int
    item: SyncedBlock
    digest: bytes
    size: int
    """Of its part of the answer."""

    @property
    def block(self) -> Block:
        return self.item.committed.block


class _Range:
    """Heights on their way."""

    def __init__(self, begin: int, end: int) -> None:
        self.next = begin
        self.end = end
        """One above the last."""
        self.arrived: deque[Arrived] = deque()
        self.besides: set[int] = set()
        self.over = False
        """Whether nothing more will come."""
        self.scope = trio.CancelScope()


class Lookahead:
    """Args:
    who: the links whose peers say that they executed a height, best first.
    fixed: the hash that the block at a height must have, None where any may be.
    unproven: told of a link whose peer gave nothing of a height that it says it executed.
    pruned: told of a link whose peer keeps no block below a height; `who` names it no more for those.
    """

    def __init__(
        self,
        sources: Sources,
        who: Callable[[int], Collection[int]],
        fixed: Callable[[int], bytes | None],
        unproven: Callable[[int, int], None],
        pruned: Callable[[int, int], None],
    ) -> None:
        self._sources = sources
        self._who = who
        self._fixed = fixed
        self._unproven = unproven
        self._pruned = pruned
        self._ranges: deque[_Range] = deque()
        self._block_bytes = float(BLOCK_BYTES)
        self._held_bytes = 0
        self._changed = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._target: Callable[[], int] = lambda: 0
        self._next = 0

    def start(self, begin: int, target: Callable[[], int], nursery: trio.Nursery) -> None:
        """Fetch from `begin` on, in the nursery, until that is cancelled; the target may move meanwhile.

        What an earlier start left over is forgotten.
        """
        self._nursery, self._target, self._next = nursery, target, begin
        self._ranges.clear()
        self._held_bytes = 0
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        while True:
            while self._next <= self._target() and self._room():
                self._begin_range()
            await self._change()

    def _room(self) -> bool:
        """Whether another range may be asked for: the first one always."""
        if not self._ranges:
            return True
        blocks = self._next - self._first()
        on_the_way = sum(unfilled.end - unfilled.next for unfilled in self._ranges) * self._block_bytes
        return (
            sum(not unfilled.over for unfilled in self._ranges) < RANGES_OPEN_MAX
            and blocks < AHEAD_BLOCKS_MAX
            and self._held_bytes + on_the_way + RANGE_BYTES <= AHEAD_BYTES_MAX
        )

    @property
    def waiting(self) -> int:
        """How many blocks are here and were not handed over yet."""
        return sum(len(filled.arrived) for filled in self._ranges)

    def _first(self) -> int:
        head = self._ranges[0]
        return head.arrived[0].block.height if head.arrived else head.next

    def _begin_range(self) -> None:
        assert self._nursery is not None, "ranges are fetched while it runs"
        count = max(1, min(BLOCKS_WANTED_MAX, int(RANGE_BYTES / self._block_bytes)))
        made = _Range(self._next, min(self._next + count, self._target() + 1))
        self._next = made.end
        self._ranges.append(made)
        self._nursery.start_soon(self._fill, made)

    async def next(self) -> Arrived | None:
        """Return the next block in order; None where no peer gives it."""
        while True:
            while self._ranges and self._ranges[0].over and not self._ranges[0].arrived:
                if self._ranges[0].next < self._ranges[0].end:
                    return None
                self._ranges.popleft()
                self._tell()
            if self._ranges and self._ranges[0].arrived:
                arrived = self._ranges[0].arrived.popleft()
                self._held_bytes -= arrived.size
                self._tell()
                return arrived
            if not self._ranges and self._next > self._target():
                return None
            await self._change()

    def refused(self, height: int, link: int) -> None:
        """What this peer gave from `height` on was found false: it is fetched anew, from others. To be called
        after `next` returned that block and before it is called again."""
        assert self._nursery is not None, "ranges are fetched while it runs"
        head = self._ranges[0]
        assert height < head.end, f"block {height} is not the last one returned"
        head.scope.cancel()
        self._held_bytes -= sum(arrived.size for arrived in head.arrived)
        again = _Range(height, head.end)
        again.besides = head.besides | {link}
        self._ranges[0] = again
        self._nursery.start_soon(self._fill, again)

    async def _fill(self, mine: _Range) -> None:
        with mine.scope:
            while mine.next < mine.end:
                begin, count = mine.next, mine.end - mine.next
                found = await self._sources.get(
                    BlocksWanted(begin, count),
                    lambda: self._who(mine.next),
                    lambda link, answer: self._judged(link, answer, mine),
                    int(count * self._block_bytes),
                    mine.besides,
                    lambda found: not found or mine.next + len(found) >= mine.end,
                )
                if found is None:
                    for link in self._who(begin):
                        if link not in mine.besides and not self._sources.stumbles(link):
                            self._unproven(link, begin)
                    break
                if not found:
                    continue  # it keeps no block so old, and is not among `who` any more
                mine.arrived.extend(found)
                mine.next += len(found)
                size = sum(arrived.size for arrived in found)
                self._held_bytes += size
                self._block_bytes += BYTES_WEIGHT * (size / len(found) - self._block_bytes)
                self._tell()
            mine.over = True
            self._tell()

    def _judged(self, link: int, answer: bytes, mine: _Range) -> list[Arrived]:
        try:
            synced = decode_blocks(answer)
        except UNREADABLE:
            raise Lie("sync.unreadable") from None
        if isinstance(synced, Pruned):
            if synced.first <= mine.next:
                raise Lie("sync.height")  # it says that it has what it was asked for
            self._pruned(link, synced.first)
            return []
        if not 0 < len(synced) <= mine.end - mine.next:
            raise Lie("sync.height")
        size = len(answer) // len(synced)
        found: list[Arrived] = []
        for height, item in enumerate(synced, start=mine.next):
            digest = judge(item, height, found[-1].digest if found else None, self._fixed(height))
            found.append(Arrived(link, item, digest, size))
        return found

    def wake(self) -> None:
        """The target moved."""
        self._tell()

    def _tell(self) -> None:
        self._changed.set()

    async def _change(self) -> None:
        if self._changed.is_set():
            self._changed = trio.Event()
            await trio.lowlevel.checkpoint()
            return
        await self._changed.wait()


def judge(item: SyncedBlock, height: int, parent: bytes | None, expected: bytes | None) -> bytes:
    """Return the hash of a block that fits: at its height, upon its parent, with a certificate and batches
    that are its own. Raise Lie."""
    block, certificate = item.committed.block, item.committed.certificate
    if block.height != height:
        raise Lie("sync.height")
    digest = block_digest(block)
    if (parent is not None and block.parent != parent) or (expected is not None and digest != expected):
        raise Lie("sync.block")
    named = (certificate.kind, certificate.height, certificate.value)
    if named != (VoteKind.PRECOMMIT, height, digest):
        raise Lie("sync.certificate")
    if not fixed(block, item.batches) or (item.left and not fills(item.batches)):
        raise Lie("sync.batch")
    return digest


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
