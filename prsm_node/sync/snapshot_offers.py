"""Which snapshot peers offer: the newest whose manifest is proven, whatever others send meanwhile.

A manifest may have 15 MiB, and liars' are as large as an answer may be. So few answers are on their way at
once, each is read and judged before its place is given to the next peer, and of what is good only the newest
is kept.
"""

from collections.abc import Awaitable, Callable, Collection
from functools import partial

import msgspec
import structlog
import trio

from prsm_node.storage import snapshot_manifest
from prsm_node.storage.offload import Offload
from prsm_node.storage.snapshot_manifest import BrokenManifest, Manifest, OtherSchema
from prsm_node.sync.sources import Peers, Sources
from prsm_node.wire.payloads import SnapshotWanted

log = structlog.get_logger("snapshots")

# Answers of 16 MiB at most: 64 MiB on their way, and two manifests taken apart, of 40 MB each.
ASKED_AT_ONCE = 4
# The first offer is not taken at once: others' may be newer, and who else has it is found on the way.
OFFERS_S = 1.0
# Of one peer, that it is not ready included.
OFFER_MAX_S = 5.0
# All of 64 links, four at once, were each to take so long.
OFFERS_MAX_S = 80.0
MANIFEST_BYTES_EXPECTED = 64 * 1024


class Offers(msgspec.Struct):
    """What peers have, each proven."""

    newest: Manifest | None = None
    heights: dict[int, int] = msgspec.field(default_factory=dict)
    """By link."""

    def add(self, link: int, manifest: Manifest) -> None:
        if self.newest is None or manifest.height > self.newest.height:
            self.newest = manifest
        self.heights[link] = manifest.height


class OfferRound:
    """Args: proven: whether a manifest follows from what this home trusts; it blames the link that offers
    another."""

    def __init__(
        self,
        outbox: Peers,
        sources: Sources,
        proven: Callable[[Manifest, int], Awaitable[bool]],
        offload: Offload,
    ) -> None:
        self._outbox = outbox
        self._sources = sources
        self._proven = proven
        self._offload = offload

    async def ask(self, besides: Collection[int] = ()) -> Offers:
        """Ask all peers besides these, a few at once; what is not there soon after the first offer is not
        waited for."""
        offers, links = Offers(), iter([link for link in self._outbox.links() if link not in besides])
        some = trio.Event()

        async def ask_some() -> None:
            for link in links:
                manifest = await self._offered(link)
                if manifest is not None:
                    offers.add(link, manifest)
                    some.set()

        async def patience(asking: trio.CancelScope) -> None:
            await some.wait()
            await trio.sleep(OFFERS_S)
            asking.cancel()

        with trio.move_on_after(OFFERS_MAX_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(patience, nursery.cancel_scope)
                async with trio.open_nursery() as asking:
                    for _ in range(ASKED_AT_ONCE):
                        asking.start_soon(ask_some)
                nursery.cancel_scope.cancel()
        return offers

    async def _offered(self, link: int) -> Manifest | None:
        """Return what one peer offers, proven; a false one is its fault, one of another version nobody's."""
        answer = None
        with trio.move_on_after(OFFER_MAX_S):
            answer = await self._sources.get(
                SnapshotWanted(0), lambda: [link], lambda _, answer: answer, MANIFEST_BYTES_EXPECTED
            )
        if answer is None:
            return None
        try:
            manifest = await self._offload(partial(snapshot_manifest.decode, answer))
        except OtherSchema as other:
            log.info("snapshot_of_another_version", why=str(other))
            return None
        except BrokenManifest as error:
            log.warning("snapshot_refused", why=str(error))
            self._sources.lied(link, "snapshot.manifest")
            return None
        return manifest if await self._proven(manifest, link) else None
