"""A node without a chain takes over a peer's snapshot: chosen, fetched from many, whole or not there.

The manifest is proven before anything else is fetched: its root is certified, and the groups' hashes lead to
that root. So each group is judged by itself the moment it comes, and who sends a wrong one is guilty for
sure. What was fetched outlives a restart.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import structlog
import trio

from prsm_node.genesis import Genesis
from prsm_node.ledger.bucket_groups import GROUP_BYTES, group_bytes, group_hash
from prsm_node.storage import snapshot_incoming
from prsm_node.storage.errors import StorageError
from prsm_node.storage.offload import Offload
from prsm_node.storage.snapshot_folder import Snapshot, SnapshotFolder
from prsm_node.storage.snapshot_incoming import Incoming
from prsm_node.storage.snapshot_manifest import Manifest
from prsm_node.sync.header_walk import HeaderWalk
from prsm_node.sync.snapshot_offers import OfferRound, Offers
from prsm_node.sync.snapshot_progress import Phase, Progress
from prsm_node.sync.snapshot_trust import Untrusted, prove
from prsm_node.sync.sources import Lie, Peers, Sources
from prsm_node.trusted_block import TrustedBlock
from prsm_node.wire.payloads import GroupWanted

log = structlog.get_logger("snapshots")

T = TypeVar("T")

# Of 233 KB each: 4 MB in hand, and more than eight peers are asked at once (sources.OPEN_MAX).
GROUPS_AT_ONCE = 16
ASK_AGAIN_S = 1.0
# Until there is a peer to ask, as right after the start.
LOOK_AGAIN_S = 0.1
# Peers that are up and offer nothing have none: the chain is young, or they take none.
NO_OFFER_S = 10.0
NO_PEER_S = 30.0
# Of a snapshot no group came for so long, while others offer another one: who offers it does not give it.
BARREN_S = 30.0


class SnapshotFetch:
    """One errand: `run` gives the snapshot. Its links are its owner's."""

    def __init__(
        self,
        outbox: Peers,
        folder: SnapshotFolder,
        genesis: Genesis,
        trusted: TrustedBlock | None,
        progress: Progress,
        offload: Offload = trio.to_thread.run_sync,
    ) -> None:
        self._outbox = outbox
        self._sources = Sources(outbox)
        self._folder = folder
        self._genesis = genesis
        self._trusted = trusted if trusted is not None and trusted.height > 0 else None
        self._progress = progress
        self._offload = offload
        self._walk: HeaderWalk | None = None
        if self._trusted is not None:
            self._walk = HeaderWalk(outbox, self._sources, self._trusted.height, self._trusted.hash)
        self._looking = trio.Lock()
        self._looked_at = -NO_OFFER_S
        self._round = OfferRound(outbox, self._sources, self._proven, offload)
        self._offered = Offers()
        """What peers offered when they were last asked while a group was missing."""
        self._heights: dict[int, int] = {}
        """What the peer of each link offered last."""
        self._barren: set[int] = set()
        """Links whose peers offered what nobody gave."""
        self._came_at = 0.0
        """When the last group came."""
        self.fetched = 0
        """Groups that came from peers in this run."""

    async def run(self) -> Snapshot | None:
        """Return the snapshot, proven and whole on the disk; None where peers offer none.

        Raise StorageError where the disk fails. Cancelling leaves on the disk what was fetched.
        """
        if self._walk is not None and not await self._reach(self._walk):
            log.warning("trusted_block_not_found", why="no peer has the block that this home's invite trusts")
            return None
        finished = self._folder.newest
        if finished is not None and await self._proven(finished.manifest):
            return finished
        while True:
            incoming = await self._resumed() or await self._begun()
            if incoming is None:
                return None
            try:
                whole = await self._fetch(incoming)
            finally:
                incoming.close()
            if whole:
                await self._kept(partial(self._folder.finish, incoming.path, incoming.manifest))
                return self._folder.newest
            log.warning("snapshot_vanished", height=incoming.manifest.height)
            await self._kept(partial(snapshot_incoming.discard, self._folder.directory))

    async def _kept(self, work: Callable[[], T]) -> T:
        """Do what reads or writes; raise StorageError where the disk fails or the folder is another's."""
        try:
            return await self._offload(work)
        except OSError as error:
            why = (error.strerror or "it fails").lower()
            raise StorageError(
                f"the snapshot can't be kept in {self._folder.directory}: {why}; free some space, or give "
                "this folder and what is in it to who runs the node, and start again"
            ) from None

    # --- which one --------------------------------------------------------------------------------

    async def _resumed(self) -> Incoming | None:
        """Return what an earlier run began, if it is still to be trusted."""
        incoming = await self._kept(partial(snapshot_incoming.resume, self._folder.directory))
        if incoming is None:
            return None
        if await self._proven(incoming.manifest):
            return incoming
        incoming.close()
        return None

    async def _begun(self) -> Incoming | None:
        """Begin with the newest snapshot that a peer offers."""
        self._progress.enter(Phase.LOOKING, 0, 0)
        manifest = await self._chosen()
        if manifest is None:
            return None
        log.info("snapshot_chosen", height=manifest.height, accounts=manifest.accounts)
        return await self._kept(partial(snapshot_incoming.begin, self._folder.directory, manifest))

    async def _chosen(self) -> Manifest | None:
        began, linked = trio.current_time(), None
        while True:
            links = self._outbox.links()
            now = trio.current_time()
            linked = None if not links else linked if linked is not None else now
            if linked is None and now - began > NO_PEER_S:
                return None
            if (newest := (await self._asked()).newest) is not None:
                return newest
            self._barren.clear()  # nobody else has one
            if linked is not None and trio.current_time() - linked > NO_OFFER_S:
                return None
            await trio.sleep(ASK_AGAIN_S)

    async def _asked(self) -> Offers:
        offers = await self._round.ask(self._barren)
        up = set(self._outbox.links())
        self._heights = {link: at for link, at in (self._heights | offers.heights).items() if link in up}
        return offers

    async def _proven(self, manifest: Manifest, link: int | None = None) -> bool:
        """Whether it follows from what this home trusts; a peer that offers another is to blame."""
        itself, linked = None, None
        if self._walk is not None and self._trusted is not None:
            itself, naming = self._walk.top, manifest.blocks[-1].height
            if naming < self._trusted.height:
                linked = await self._walk.digest_at(naming)
        try:
            await self._offload(partial(prove, manifest, self._genesis, self._trusted, itself, linked))
        except Untrusted as error:
            log.warning("snapshot_untrusted", height=manifest.height, why=str(error))
            above = self._trusted is None or manifest.height >= self._trusted.height
            # Of an older one it may be others who did not show the way to it.
            if link is not None and (above or linked is not None):
                self._sources.lied(link, "snapshot.untrusted")
            return False
        return True

    async def _reach(self, walk: HeaderWalk) -> bool:
        """Bring in the block that the invite vouches for, from whichever peer has it."""
        with trio.move_on_after(NO_PEER_S):
            while not await walk.reach_top():  # noqa: ASYNC110
                await trio.sleep(ASK_AGAIN_S if self._outbox.links() else LOOK_AGAIN_S)
        return walk.top is not None

    # --- its groups -------------------------------------------------------------------------------

    async def _fetch(self, incoming: Incoming) -> bool:
        """Bring in all groups that are missing; False where no peer has one of them any more."""
        manifest, total = incoming.manifest, incoming.size_bytes
        self._progress.enter(Phase.CHECKING, manifest.height, total)
        held = await self._kept(partial(incoming.held, lambda index: self._progress.add(GROUP_BYTES)))
        done = sum(group_bytes(manifest.accounts, index) for index in held)
        self._progress.enter(Phase.FETCHING, manifest.height, total, done)
        if held:
            log.info("snapshot_resumed", height=manifest.height, groups=len(held), of=len(manifest.groups))
        missing = deque(index for index in range(len(manifest.groups)) if index not in held)
        lost = trio.Event()
        self._came_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(GROUPS_AT_ONCE):
                nursery.start_soon(self._fetch_some, incoming, missing, lost, nursery.cancel_scope)
        if lost.is_set():
            return False
        await self._kept(incoming.sync)
        return True

    async def _fetch_some(
        self, incoming: Incoming, missing: deque[int], lost: trio.Event, scope: trio.CancelScope
    ) -> None:
        """Fetch one group after the other; where nobody has one, say so and end all that fetch."""
        manifest = incoming.manifest
        while missing:
            index = missing.popleft()
            expected = manifest.groups[index]

            def judge(link: int, group: bytes, index: int = index, expected: bytes = expected) -> bytes:
                size = group_bytes(manifest.accounts, index)
                if len(group) != size or group_hash(group, manifest.accounts) != expected:
                    raise Lie("snapshot.group")
                return group

            wanted = GroupWanted(manifest.height, index, expected)
            group = await self._anyone(wanted, judge)
            if group is None:
                lost.set()
                scope.cancel()
                return
            await self._kept(partial(incoming.put, index, group))
            self.fetched += 1
            self._came_at = trio.current_time()
            self._progress.add(len(group))

    async def _anyone(self, wanted: GroupWanted, judge: Callable[[int, bytes], bytes]) -> bytes | None:
        """Ask until somebody gives it; None when none has it, and newer snapshots are offered."""
        began = trio.current_time()
        while True:
            with trio.move_on_after(BARREN_S):
                group = await self._sources.get(wanted, self._outbox.links, judge, GROUP_BYTES)
                if group is not None:
                    return group
            if not self._outbox.links():
                began = trio.current_time()  # alone: what was fetched waits for peers
            elif trio.current_time() - began > NO_OFFER_S:
                if await self._superseded(wanted.height):
                    return None
                began = trio.current_time()
            await trio.sleep(ASK_AGAIN_S)

    async def _superseded(self, height: int) -> bool:
        """Whether peers offer snapshots and all of them are newer, or nobody gives anything of this one and
        others offer another. Slow peers offer nothing: that is no reason to begin anew."""
        async with self._looking:
            if trio.current_time() - self._looked_at > NO_OFFER_S:
                self._looked_at = trio.current_time()
                self._offered = await self._asked()
        offered = set(self._offered.heights.values())
        if offered and min(offered) > height:
            return True
        if trio.current_time() - self._came_at < BARREN_S or offered <= {height}:
            return False
        self._barren |= {link for link, theirs in self._heights.items() if theirs == height}
        return True
