"""Block sync: a node that is behind follows the chain by blocks that peers serve, and feeds its replica.

A block counts by its commit certificate, checked against the set that its chain names, so that a peer can
delay but not deceive. Up to a block that the operator trusts it must besides be an ancestor of that one
(trusted_path.py): not a block is executed before that is known. Blocks come ahead from several peers at once
(lookahead.py), are checked in order (following.py) and executed in order; who gave a false one is blamed, and
the rest of the window stays. claims.py knows whom to ask.

The signatures inside batches are checked again only near the tip: below a header that a later block certifies
the root was checked by an honest validator unless a quorum is faulty, and the root computed here must match
it (PROTOCOL, Joining). With sync.verify = "all" every signature is checked.
"""

from collections import deque
from functools import partial

import structlog
import trio
import trio.lowlevel
from msgspec.structs import replace

from consensus.blocks import Block
from prsm_node.consensus_host.answers import decode_headers
from prsm_node.sync.chain import Chain
from prsm_node.sync.claims import Claims
from prsm_node.sync.following import Following, Fork
from prsm_node.sync.lacking import LackingBodies
from prsm_node.sync.large_blocks import whole
from prsm_node.sync.lookahead import Arrived, Lookahead
from prsm_node.sync.progress import Progress, SyncProgress
from prsm_node.sync.sources import Lie, Peers, Sources
from prsm_node.sync.trusted_path import OffTheWay, TrustedPath
from prsm_node.unreadable import UNREADABLE
from prsm_node.wire.payloads import HeadersWanted

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
HEADER_BYTES = 300
TOLD_EVERY_S = 5.0
HEADERS, BLOCKS = "headers", "blocks"
# Between two checkpoints of the loop: a millisecond of checks.
BLOCKS_AT_ONCE = 8


class BlockSync:
    """Two tasks own all questions: one catches up, the other brings in what decided blocks lack."""

    def __init__(self, chain: Chain, peers: Peers, *, verify_all: bool = False) -> None:
        """`verify_all` has every signature in batches checked, below certified headers too."""
        self.sources = Sources(peers)
        self._chain = chain
        self._verify_all = verify_all
        self._hinted = trio.Event()
        self._claims = Claims(chain, peers)
        self._lacking = LackingBodies(chain, self.sources, self._claims)
        self._phase: str | None = None
        self._progress = Progress()
        self._told_at = 0.0
        self.passing = False
        """Whether blocks pass by the hundred: this node is further behind than agreement makes good."""
        self._ahead = Lookahead(
            self.sources, self._claims.who, self._fixed, self._claims.doubt, self._claims.note_pruned
        )

    @property
    def target(self) -> int:
        """The greatest height that a certificate proved or a peer claims who was not found to lie."""
        return self._claims.target

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
        self._claims.prove(height)
        self.wake()

    def wake(self) -> None:
        """A peer claims to be ahead."""
        self._hinted.set()
        self._ahead.wake()

    def lack(self, block: Block) -> None:
        """This block is decided here, but its batches come too slowly one by one along their lanes."""
        self._lacking.lack(block)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._lacking.run)
            while True:
                with trio.move_on_after(BEHIND_S):
                    await self._hinted.wait()
                self._hinted = trio.Event()
                await self._catch_up()
                self._phase = None

    def _fixed(self, height: int) -> bytes | None:
        path = self._chain.path()
        return path.digest(height) if path is not None else None

    # --- catching up ------------------------------------------------------------------------------

    async def _catch_up(self) -> None:
        before = self._chain.next_height()
        await trio.lowlevel.checkpoint()
        if not self._claims.who(before) and self.target <= before:
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
                wanted,
                partial(self._claims.who, wanted.height),
                self._headers,
                wanted.count * HEADER_BYTES,
                is_all=partial(_walked, path, wanted),
            )
            if led is None:
                if (
                    self._claims.who(wanted.height)
                    and (now := trio.current_time()) - self._told_at >= TOLD_EVERY_S
                ):
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
                if arrived.item.left:
                    following.certify(arrived)
                    made = await self._whole(arrived, following)
                    if made is None:
                        return
                    if self._chain.executed_height() >= height:
                        continue
                    arrived = made
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
                # By what came and not by what is claimed: that can be a lie for ever, of who is always busy.
                self.passing = self._ahead.waiting > NEAR_HEIGHTS
                await trio.lowlevel.checkpoint()
                self._tell()
        while passed:
            path = self._chain.path()
            covered = path is not None and path.covers(passed[0].block.height + ROOT_AFTER)
            if not await self._execute(passed.popleft(), certified=covered):
                return
        await self._executed(following.height)

    async def _whole(self, arrived: Arrived, following: Following) -> Arrived | None:
        """Bring in what a large block came without; None where nobody has it. Raise Lie."""
        who = partial(self._claims.who, arrived.block.height)
        item = await whole(arrived.item, following.stood, self.sources, who, self._chain.signed)
        return None if item is None else replace(arrived, item=item)

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


def _walked(path: TrustedPath, wanted: HeadersWanted, led: bool) -> bool:
    """Whether an answer led as far down as was asked."""
    return path.at <= wanted.height - wanted.count
