"""The way down from a trusted block to one below it, asked of peers.

What an invite vouches for is most often newer than the newest snapshot; the chain between the two is then
walked from above, a thousand headers an answer.
"""

from typing import Final

from consensus.blocks import Block
from prsm_node.consensus_host.answers import decode_headers
from prsm_node.sync.ancestry import ancestors
from prsm_node.sync.sources import Lie, Peers, Sources
from prsm_node.unreadable import UNREADABLE
from prsm_node.wire.payloads import HEADERS_WANTED_MAX, HeadersWanted

# 200 answers of 0.4 MB with four validators. Who keeps two snapshots of 10,000 blocks needs 30 of them.
WALKED_MAX: Final = 200_000
HEADER_BYTES_EXPECTED: Final = 400


class HeaderWalk:
    """From one trusted (height, hash) down."""

    def __init__(self, outbox: Peers, sources: Sources, height: int, digest: bytes) -> None:
        self._outbox = outbox
        self._sources = sources
        self._height = height
        self._digests = {height: digest}
        self._lowest = height
        """The lowest height whose digest is known."""
        self.top: Block | None = None
        """The trusted block itself, once a peer gave it."""

    async def digest_at(self, height: int) -> bytes | None:
        """Return the digest of the chain's block at a height up to the trusted one; None where no peer shows
        the way there."""
        if height > self._height or height < self._height - WALKED_MAX:
            return None
        while self._lowest > height:
            if not await self._down(max(height + 1, 1)):
                return None
        return self._digests[height]

    async def reach_top(self) -> bool:
        """Bring in the trusted block; False where no peer has it now."""
        return self.top is not None or await self._down(self._height)

    async def _down(self, last: int) -> bool:
        """Walk on towards the header of `last`, which names the digest below it."""
        height = self._lowest
        expected = self._digests[height]
        count = min(HEADERS_WANTED_MAX, height - last + 1)

        def judge(link: int, answer: bytes) -> tuple[Block, ...]:
            try:
                headers = decode_headers(answer)
            except UNREADABLE:
                raise Lie("sync.unreadable") from None
            if not 1 <= len(headers) <= count:
                raise Lie("sync.headers")
            return tuple(ancestors(headers, height, expected, self._height))

        wanted = HeadersWanted(height, count)
        headers = await self._sources.get(
            wanted,
            self._outbox.links,
            judge,
            HEADER_BYTES_EXPECTED * count,
            is_all=lambda found: len(found) == count,
        )
        if headers is None:
            return False
        if self.top is None:
            self.top = headers[0]
        for header in headers:
            self._digests[header.height - 1] = header.parent
        self._lowest = headers[-1].height - 1
        return True
