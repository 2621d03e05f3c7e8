"""How high peers say they are, and which of them are asked for a height.

What a peer says counts until it fails to show it; what a certificate proves counts in any case. Who pruned
the first blocks is asked for later ones only.
"""

import structlog
import trio

from prsm_node.sync.chain import Chain
from prsm_node.sync.sources import Peers

log = structlog.get_logger("sync")

# Who had nothing to show for its height is not believed, and not asked first, for so long.
DOUBT_S = 30.0
# Of 64 links, and of those that came and went within that time.
DOUBTED_MAX = 256
TOLD_EVERY_S = 5.0

PRUNED_EVERYWHERE = (
    "no peer keeps it any more; stop this node, remove data/state in its home but not data/journal, and "
    "start it with --sync snapshot"
)


class Claims:
    """What is claimed is `chain`'s to tell; here is what became of it."""

    def __init__(self, chain: Chain, peers: Peers) -> None:
        self._chain = chain
        self._peers = peers
        self._proven = 0
        self._doubted: dict[int, float] = {}
        self._first: dict[int, int] = {}
        """By link, of peers that pruned: the lowest height whose block they keep."""
        self._told_at = 0.0

    def prove(self, height: int) -> None:
        """A checked certificate of this height says that somebody is ahead."""
        self._proven = max(self._proven, height)

    @property
    def target(self) -> int:
        """The greatest height that a certificate proved or a peer claims who was not found to lie."""
        return max([self._proven, *self.believed().values()])

    def believed(self) -> dict[int, int]:
        """Return what peers claim who were not found to lie lately, by link."""
        now = trio.current_time()
        heights = self._chain.heights()
        return {link: height for link, height in heights.items() if self._doubted.get(link, 0.0) <= now}

    def who(self, height: int) -> list[int]:
        """Return the links of peers that say they executed this height and did not prune it: validators
        first, then the furthest."""
        claims = {
            link: claimed
            for link, claimed in self.believed().items()
            if claimed >= height >= self._first.get(link, 0)
        }
        return sorted(claims, key=lambda link: (not self._chain.validates(link), -claims[link]))

    def doubt(self, link: int, height: int) -> None:
        """If it says that it has this height: it was asked, and gave nothing."""
        if self._chain.heights().get(link, 0) < height:
            return
        self._doubted.pop(link, None)
        self._doubted[link] = trio.current_time() + DOUBT_S
        while len(self._doubted) > DOUBTED_MAX:
            del self._doubted[next(iter(self._doubted))]
        self._peers.fault(link, "sync.unproven_height")

    def note_pruned(self, link: int, first: int) -> None:
        up = self._chain.heights()
        self._first = {known: height for known, height in self._first.items() if known in up}
        # It only grows, or a liar that takes it back would be asked again and again.
        self._first[link] = max(first, self._first.get(link, 0))
        need = self._chain.executed_height() + 1
        if not self.who(need) and (now := trio.current_time()) - self._told_at >= TOLD_EVERY_S:
            self._told_at = now
            log.warning("blocks_pruned", wanted=need, why=PRUNED_EVERYWHERE)
