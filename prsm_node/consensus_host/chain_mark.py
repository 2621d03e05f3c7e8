"""Where the chain stands, as LMDB keeps it beside the state: a replica takes the chain up from there, and a
restart reads the journal from there."""

import msgspec

from consensus.blocks import Tip
from consensus.dissemination.batches import BatchHeader, batch_digest
from prsm_node.storage.journal import Journal

MARK = b"chain"
"""The key of ChainMark among the state's own."""


class ChainMark(msgspec.Struct, frozen=True, array_like=True):
    """What LMDB keeps beside the state, so that a replica can take the chain up from there."""

    height: int
    time_ms: int
    digest: bytes
    heads: tuple[BatchHeader, ...]
    """The last batch ordered of each lane, as its author signed it, in order of author."""
    roots: tuple[tuple[int, bytes], ...]
    last_work: int
    journal_from: int
    """Where a restart begins to read the journal."""
    journal_to: int = 0
    """Where the journal ended, durable before this was: one that ends sooner is an older copy."""

    @property
    def tips(self) -> tuple[Tip, ...]:
        return tuple(Tip(head.author, head.sequence, batch_digest(head)) for head in self.heads)

    def rests_on(self, journal: Journal) -> bool:
        """Whether this journal holds all that a restart reads. An older copy of it would have a validator
        forget what it signed since."""
        return journal.begin <= self.journal_from and max(self.journal_from, self.journal_to) <= journal.end


def decode_mark(raw: bytes) -> ChainMark:
    return msgspec.msgpack.decode(raw, type=ChainMark)


def first_mark(digest: bytes, time_ms: int, root: bytes, journal_from: int) -> ChainMark:
    """Return the mark of a chain that has only its genesis."""
    return ChainMark(0, time_ms, digest, (), ((0, root),), 0, journal_from)
