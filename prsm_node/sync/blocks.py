"""Block sync: a node that is behind follows the chain by blocks that peers serve, and feeds its replica.

A block counts by its commit certificate, checked against the set that its chain names, so that a peer can
delay but not deceive. Up to a block that the operator trusts it must besides be an ancestor of that one
(trusted_path.py): not a block is executed before that is known. Blocks come ahead from several peers at once
(lookahead.py), are checked in order (following.py) and executed in order; who gave a false one is blamed, and
the rest of the window stays. How high a peer says it is counts until it fails to show it.

The signatures inside batches are checked again only near the tip: below a header that a later block certifies
the root was checked by an honest validator unless a quorum is faulty, and the root computed here must match
it (PROTOCOL, Joining). With sync.verify = "all" every signature is checked.
"""

from collections import deque
from functools import partial
from typing import Protocol

import structlog
import trio
import trio.lowlevel

from consensus.blocks import Block
from prsm_node.consensus_host.answers import Pruned, SyncedBlock, decode_blocks, decode_headers
from prsm_node.sync.following import Following, Fork, Trust, complete
from prsm_node.sync.lookahead import Arrived, Lookahead, fixed
from prsm_node.sync.progress import Progress, SyncProgress
from prsm_node.sync.sources import Lie, Peers, Sources
from prsm_node.sync.trusted_path import OffTheWay, TrustedPath
from prsm_node.unreadable import UNREADABLE
from prsm_node.wire.payloads import Batch, BlocksWanted, Committed

log = structlog.get_logger("sync")

# A decider's certificate may arrive before the last votes of its height: a lag of one height is no lag.
BEHIND_S = 0.5
# A node so near goes on by votes and forwarded certificates as long as these come.
NEAR_HEIGHTS = 8
EXECUTE_S = 30.0
# The replica decides at most three heights beyond execution (consensus/chain.py).
UNDECIDED = 3
# A root is certified by the header two above it (PROTOCOL, Blocks 1).
ROOT_AFTER = 2
# Who had nothing to show for its height is not believed, and not asked first, for so long.
DOUBT_S = 30.0
# Of 64 links, and of those that came and went within that time.
DOUBTED_MAX = 256
# Blocks whose batches are lacking here: of one height and those after it.
BODIES_WANTED = 32
HEADER_BYTES = 300
TOLD_EVERY_S = 5.0
HEADERS, BLOCKS = "headers", "blocks"
# Between two checkpoints of the loop: a millisecond of checks.
BLOCKS_AT_ONCE = 8

PRUNED_EVERYWHERE = (
    "no peer keeps it any more; stop this node, remove data/state in its home but not data/journal, and "
    "start it with --sync snapshot"
)


class Chain(Trust, Protocol):
    """What sync needs of the node."""

    def next_height(self) -> int:
        """The height that is being agreed on."""

    def executed_height(self) -> int: ...

    def executed_digest(self) -> bytes:
        """The hash of the last executed block."""

    async def executed(self, height: int) -> None:
        """Return when this height is executed."""

    def take(self, link: int, committed: Committed) -> None:
        """Feed a block of the next height whose certificate was checked. Raise what ends the node where it
        proves a fork."""

    def store(self, batch: Batch) -> None:
        """Keep a batch that a certified block fixes, its transactions' signatures unchecked."""

    async def check(self, link: int, batch: Batch) -> bool:
        """Keep a batch only if every signature in it is good; otherwise blame the link."""

    def heights(self) -> dict[int, int]:
        """What the peers on our links say they executed."""

    def validates(self, link: int) -> bool:
        """Whether the peer proved to be a validator: among those who claim much it is asked first."""

    def path(self) -> TrustedPath | None:
        """The way up to the trusted block, while this node is below it."""

    def refused(self) -> None:
        """A peer's chain has another block where the trusted one should be: say so."""

    def off_the_way(self) -> None:
        """Our own blocks do not lead to the trusted one: say so."""


class BlockSync:
    """Two tasks own all questions: one catches up, the other brings in what decided blocks lack, which the
    first may be waiting for."""

    def __init__(self, chain: Chain, peers: Peers, *, verify_all: bool = False) -> None:
        """`verify_all` has every signature in batches checked, below certified headers too."""
        self.sources = Sources(peers)
        self._chain = chain
        self._peers = peers
        self._verify_all = verify_all
        self._hinted = trio.Event()
        self._lacking: Block | None = None
        self._lacked = trio.Event()
        self._proven = 0
        self._doubted: dict[int, float] = {}
        self._first: dict[int, int] = {}
        """By link, of peers that pruned: the lowest height whose block they keep."""
        self._phase: str | None = None
        self._progress = Progress()
        self._told_at = 0.0
        self.passing = False
        """Whether blocks pass by the hundred: this node is further behind than agreement makes good."""
        self._ahead = Lookahead(self.sources, self._who, self._fixed, self._doubt, self._note_pruned)

    @property
    def target(self) -> int:
        """The greatest height that a certificate proved or a peer claims who was not found to lie."""
        return max([self._proven, *self._claims().values()])

    @property
    def syncing(self) -> bool:
        """Whether this node is more than a block behind the greatest height heard of."""
        return self.target > self._chain.executed_height() + 1

    def progress(self) -> SyncProgress | None:
        """How far it is; None while there is nothing to catch up with."""
        if self._phase is None:
            return None
        now, done, total = trio.current_time(), self._done(), self._total()
        return SyncProgress(
            phase=self._phase,
            done=done,
            total=total,
            per_second=self._progress.per_second(now, done),
            seconds_left=self._progress.seconds_left(now, done, max(0, total - done)),
            peers=self.sources.asked(),
        )

    def _done(self) -> int:
        path = self._chain.path()
        if self._phase == HEADERS and path is not None:
            return path.height - path.at
        return self._chain.executed_height()

    def _total(self) -> int:
        path = self._chain.path()
        if self._phase == HEADERS and path is not None:
            return path.height - self._chain.executed_height()
        return max(self.target, self._chain.executed_height())

    def _begin(self, phase: str) -> None:
        if phase != self._phase:
            self._phase = phase
            self._progress.begin()
            self._progress.note(trio.current_time(), self._done())

    def hint(self, height: int, link: int) -> None:
        """A checked certificate of this height says that somebody is ahead."""
        self._proven = max(self._proven, height)
        self.wake()

    def wake(self) -> None:
        """A peer claims to be ahead."""
        self._hinted.set()
        self._ahead.wake()

    def lack(self, block: Block) -> None:
        """This block is decided here, but its batches come too slowly one by one along their lanes."""
        self._lacking = block
        self._lacked.set()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._bring_bodies)
            while True:
                with trio.move_on_after(BEHIND_S):
                    await self._hinted.wait()
                self._hinted = trio.Event()
                await self._catch_up()
                self._phase = None

    async def _bring_bodies(self) -> None:
        while True:
            await self._lacked.wait()
            self._lacked = trio.Event()
            block, self._lacking = self._lacking, None
            if block is not None:
                await self._bodies(block)

    # --- whom to ask ------------------------------------------------------------------------------

    def _claims(self) -> dict[int, int]:
        now = trio.current_time()
        heights = self._chain.heights()
        return {link: height for link, height in heights.items() if self._doubted.get(link, 0.0) <= now}

    def _who(self, height: int) -> list[int]:
        """Return the links of peers that say they executed this height and did not prune it: validators
        first, then the furthest."""
        claims = {
            link: claimed
            for link, claimed in self._claims().items()
            if claimed >= height >= self._first.get(link, 0)
        }
        return sorted(claims, key=lambda link: (not self._chain.validates(link), -claims[link]))

    def _doubt(self, link: int, height: int) -> None:
        """If it says that it has this height: it was asked, and gave nothing."""
        if self._chain.heights().get(link, 0) < height:
            return
        self._doubted.pop(link, None)
        self._doubted[link] = trio.current_time() + DOUBT_S
        while len(self._doubted) > DOUBTED_MAX:
            del self._doubted[next(iter(self._doubted))]
        self._peers.fault(link, "sync.unproven_height")

    def _note_pruned(self, link: int, first: int) -> None:
        up = self._chain.heights()
        self._first = {known: height for known, height in self._first.items() if known in up}
        self._first[link] = first
        need = self._chain.executed_height() + 1
        if not self._who(need) and (now := trio.current_time()) - self._told_at >= TOLD_EVERY_S:
            self._told_at = now
            log.warning("blocks_pruned", wanted=need, why=PRUNED_EVERYWHERE)

    def _fixed(self, height: int) -> bytes | None:
        path = self._chain.path()
        return path.digest(height) if path is not None else None

    # --- catching up ------------------------------------------------------------------------------

    async def _catch_up(self) -> None:
        before = self._chain.next_height()
        await trio.lowlevel.checkpoint()
        if not self._who(before) and self.target <= before:
            return
        with trio.move_on_after(BEHIND_S):
            # Most often the missing votes are on their way.
            await self._chain.executed(before)
        if before < self._chain.next_height() and self.target < self._chain.next_height() + NEAR_HEIGHTS:
            return  # agreement itself moves on
        if not await self._walk():
            return
        self._begin(BLOCKS)
        begin = self._chain.next_height()
        if not await self._executed(begin - 1) or self._chain.executed_height() >= begin:
            return
        following = self._from_executed()
        async with trio.open_nursery() as nursery:
            self._ahead.start(begin, self._goal, nursery)
            try:
                await self._follow(following)
            finally:
                self.passing = False
            nursery.cancel_scope.cancel()
        if (passed := self._chain.executed_height() + 1 - begin) > NEAR_HEIGHTS:
            log.info("caught_up", height=self._chain.executed_height(), blocks=passed, target=self.target)

    def _goal(self) -> int:
        """Up to where blocks may be fetched: as far as the way to the trusted block is known."""
        path = self._chain.path()
        return self.target if path is None or path.top >= path.height else min(self.target, path.top)

    async def _walk(self) -> bool:
        """Learn the way up to the trusted block as far as it is needed next; False where nobody shows it."""
        while (path := self._chain.path()) is not None:
            if path.lost:
                self._chain.off_the_way()
                return False
            wanted = path.wanted(self._chain.executed_height() + 1)
            if wanted is None:
                return True
            self._begin(HEADERS)
            led = await self.sources.get(
                wanted, partial(self._who, wanted.height), self._headers, wanted.count * HEADER_BYTES
            )
            if led is None:
                if self._who(wanted.height) and (now := trio.current_time()) - self._told_at >= TOLD_EVERY_S:
                    self._told_at = now
                    log.warning(
                        "no_way", header=wanted.height, why="no peer shows the way down to our own tip"
                    )
                return False
            if led:
                self._tell()
        return True

    def _headers(self, link: int, answer: bytes) -> bool:
        """Walk on; False where the way does not lead to our own chain. Raise Lie."""
        path = self._chain.path()
        if path is None:
            return True
        try:
            path.take(decode_headers(answer))
        except UNREADABLE:
            raise Lie("sync.unreadable") from None
        except OffTheWay:
            return False
        except Lie as lie:
            if lie.reason == "sync.untrusted":
                self._chain.refused()
            raise
        return True

    async def _follow(self, following: Following) -> None:
        """Check and execute block after block, until the target is reached or nobody gives the next one."""
        passed: deque[Arrived] = deque()
        while (arrived := await self._ahead.next()) is not None:
            height = arrived.block.height
            if not following.ready() and not await self._executed(height - UNDECIDED):
                return
            if self._chain.executed_height() > following.height:
                # Agreement itself went on: from what it executed the rest is followed.
                following = self._from_executed()
            if height <= following.height:
                continue
            if height > following.height + 1 or not following.ready():
                return
            try:
                following.check(arrived)
            except Lie as lie:
                self.sources.lied(arrived.link, lie.reason)
                self._ahead.refused(height, arrived.link)
                continue
            except Fork:
                if await self._executed(height - 1):
                    self._chain.take(arrived.link, arrived.item.committed)
                return
            passed.append(arrived)
            while len(passed) > ROOT_AFTER:
                if not await self._execute(passed.popleft(), certified=True):
                    return
            if height % BLOCKS_AT_ONCE == 0:
                self.passing = self.target > height + NEAR_HEIGHTS
                await trio.lowlevel.checkpoint()
                self._tell()
        while passed:
            path = self._chain.path()
            covered = path is not None and path.covers(passed[0].block.height + ROOT_AFTER)
            if not await self._execute(passed.popleft(), certified=covered):
                return
        await self._executed(following.height)

    def _from_executed(self) -> Following:
        return Following(self._chain, self._chain.executed_height(), self._chain.executed_digest())

    async def _executed(self, height: int) -> bool:
        """Return whether a height is executed, or will be soon."""
        if self._chain.executed_height() >= height:
            return True
        with trio.move_on_after(EXECUTE_S):
            await self._chain.executed(height)
        return self._chain.executed_height() >= height

    async def _execute(self, arrived: Arrived, certified: bool) -> bool:
        """Feed a block that passed; False where it can't be had executed."""
        height = arrived.block.height
        if not await self._executed(height - UNDECIDED):
            return False
        if height < self._chain.next_height():
            return True
        for batch in arrived.item.batches:
            if certified and not self._verify_all:
                self._chain.store(batch)
            elif not await self._chain.check(arrived.link, batch):
                return False
        if height == self._chain.next_height():
            self._chain.take(arrived.link, arrived.item.committed)
        return True

    def _tell(self) -> None:
        now = trio.current_time()
        self._progress.note(now, self._done())
        if now - self._told_at >= TOLD_EVERY_S:
            self._told_at = now
            at = self.progress()
            if at is not None:
                log.info(
                    "syncing",
                    phase=at.phase,
                    done=at.done,
                    total=at.total,
                    per_second=round(at.per_second),
                    seconds_left=None if at.seconds_left is None else round(at.seconds_left),
                    peers=at.peers,
                )

    # --- batches of a block decided here ----------------------------------------------------------

    async def _bodies(self, block: Block) -> None:
        """Bring in the batches of a block that we decided, from who executed it, and of those after it."""
        besides: set[int] = set()
        while self._chain.executed_height() < block.height:
            count = min(BODIES_WANTED, max(1, self.target - block.height + 1))
            found = await self.sources.get(
                BlocksWanted(block.height, count),
                lambda: self._who(block.height),
                lambda link, answer: (link, self._bodies_of(block, answer)),
                count * RANGE_BYTES_GUESS,
                besides,
            )
            if found is None:
                return
            link, synced = found
            for item in synced:
                for batch in item.batches:
                    if not await self._chain.check(link, batch):
                        besides.add(link)
            if link not in besides:
                return

    def _bodies_of(self, block: Block, answer: bytes) -> tuple[SyncedBlock, ...]:
        """Raise Lie. Who leaves batches out lies too: else the quickest could keep us from asking others."""
        synced = _bodies_of(block, answer)
        if self._chain.executed_height() == block.height - 1:
            complete(block, synced[0].batches, self._chain.executed_tip)
        return synced


RANGE_BYTES_GUESS = 32 * 1024
"""Of one block whose batches are lacking."""


def _bodies_of(block: Block, answer: bytes) -> tuple[SyncedBlock, ...]:
    """Return blocks with their batches, the first being this one. Raise Lie."""
    try:
        synced = decode_blocks(answer)
    except UNREADABLE:
        raise Lie("sync.unreadable") from None
    if isinstance(synced, Pruned) or not synced or synced[0].committed.block != block:
        raise Lie("sync.batch")
    if not all(fixed(item.committed.block, item.batches) for item in synced):
        raise Lie("sync.batch")
    return synced
