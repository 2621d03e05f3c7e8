"""Headers followed down by the parent that each names: no signature is needed, and nothing can be forged."""

from collections.abc import Iterator, Sequence

from consensus.blocks import Block, block_digest
from prsm_node.sync.sources import Lie


def ancestors(headers: Sequence[Block], height: int, digest: bytes, trusted: int) -> Iterator[Block]:
    """Yield headers from the one of this height and digest down, while each is the one named above it.

    Raise Lie at the first that is not: for another block at the `trusted` height, or for no ancestor of it.
    """
    for header in headers:
        if header.height != height or block_digest(header) != digest:
            raise Lie("sync.untrusted" if height == trusted else "sync.header")
        yield header
        height, digest = header.height - 1, header.parent
