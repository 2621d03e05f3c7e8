"""Blocks too large for one answer, whose batches are asked for part by part.

A block orders up to 32 batches of each lane, of 256 KB each: after a pause of all under full load, 30 MB of
four lanes. All nodes name a block's batches in one order, from which each part goes on, and each batch names
the one below it: so any peer may give any part, and a false one is known for it. A digest does not
cover its author's signature, which is checked of each part too: else one peer's forgery is another's fault.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from hashlib import sha256
from typing import NamedTuple

from msgspec.structs import replace

from consensus.blocks import Block
from consensus.dissemination.batches import BatchHeader, batch_digest
from prsm_node.consensus_host.answers import BLOCKS_BYTES_MAX, SyncedBlock, decode_batches
from prsm_node.sync.sources import Lie, Sources
from prsm_node.unreadable import UNREADABLE
from prsm_node.wire.payloads import Batch, RestWanted

# Half of what an answer holds: the next batch, of 272 KB at most, had no room in it.
PART_BYTES_MIN = BLOCKS_BYTES_MAX // 2

Stood = Mapping[bytes, bytes]
"""By author: up to which digest each lane that a block orders was ordered before."""


class _Place(NamedTuple):
    """Which batch of a block is next: of this tip's lane, with this digest; behind the last tip, none."""

    tip: int
    digest: bytes


def fills(batches: Iterable[Batch]) -> bool:
    """Whether these can be all that an answer has room for. Who gives a small block in parts keeps us
    waiting: each part is a question of its own."""
    return sum(len(batch.body) for batch in batches) >= PART_BYTES_MIN


async def whole(
    item: SyncedBlock,
    stood_at: Callable[[bytes], bytes],
    sources: Sources,
    who: Callable[[], Collection[int]],
    signed: Callable[[BatchHeader], bool],
) -> SyncedBlock | None:
    """Return a certified block with all its batches, oldest of a lane first; None where none of `who` gives
    the rest. Raise Lie where what `item` has is not what the block begins with: its giver's. `stood_at`
    gives the digest up to which an author's lane was ordered before; `signed` says whether a batch's author
    signed it, and is asked of the rest alone."""
    block, batches = item.committed.block, item.batches
    stood = {tip.author: stood_at(tip.author) for tip in block.tips}
    place = _behind(block, stood, _Place(-1, b""), batches)
    while place.tip < len(block.tips):
        judge = partial(_judged, block, stood, place, signed)
        wanted = RestWanted(block.height, len(batches))
        found = await sources.get(wanted, who, judge, BLOCKS_BYTES_MAX)
        if found is None:
            return None
        rest, place = found
        batches += rest
    oldest_first = sorted(batches, key=lambda batch: (batch.header.author, batch.header.sequence))
    return replace(item, batches=tuple(oldest_first), left=0)


def _judged(
    block: Block,
    stood: Stood,
    place: _Place,
    signed: Callable[[BatchHeader], bool],
    link: int,
    answer: bytes,
) -> tuple[tuple[Batch, ...], _Place]:
    try:
        rest = decode_batches(answer)
    except UNREADABLE:
        raise Lie("sync.unreadable") from None
    behind = _behind(block, stood, place, rest)
    if behind.tip < len(block.tips) and not fills(rest):
        raise Lie("sync.batch")
    if not all(signed(batch.header) for batch in rest):
        raise Lie("sync.batch")
    return rest, behind


def _behind(block: Block, stood: Stood, place: _Place, batches: Iterable[Batch]) -> _Place:
    """Return the place behind these batches. Raise Lie unless they are the block's from `place` on: the
    newest of a lane first, lanes in order of the tips."""
    place = _next(block, stood, place)
    for batch in batches:
        named = place.tip < len(block.tips) and batch_digest(batch.header) == place.digest
        if not named or sha256(batch.body).digest() != batch.header.body:
            raise Lie("sync.batch")
        place = _next(block, stood, _Place(place.tip, batch.header.parent))
    return place


def _next(block: Block, stood: Stood, place: _Place) -> _Place:
    """Go on to the next lane where this one is back to where it stood."""
    tips = block.tips
    while place.tip < len(tips) and (place.tip < 0 or place.digest == stood[tips[place.tip].author]):
        following = place.tip + 1
        place = _Place(following, tips[following].digest if following < len(tips) else b"")
    return place
