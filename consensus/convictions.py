"""Which evidence a block may commit, and what waits for a block (PROTOCOL, Evidence; Blocks 1).

Pure of block and chain, so that all judge alike; that the signatures are good is the host's to check first
(`evidence.verify`). A block convicts a validator once and by one piece: who is convicted is out of the set
three heights on.
"""

from collections.abc import Iterable

from consensus.blocks import EVIDENCE_MAX, Block
from consensus.chain import Chain
from consensus.evidence import Evidence, Offence, clashes, offence

PIECES_OF_ONE = 4
"""Kept of one validator: one convicts it, and a faulty one could sign pieces against itself for ever."""
SEND_AGAIN_HEIGHTS = 16
"""What still waits after so many heights is sent again: its finder may have had no links when it found it."""


def may_convict(piece: Evidence, chain: Chain, height: int) -> bool:
    """Whether block `height` may commit this piece.

    The guilty is in the set of the height after, the last one known to all who judge; it was a member when it
    signed, as far as what it signed names a height; no block has convicted it; the offence is inside the
    window.
    """
    done, members = offence(piece), chain.validators(height + 1)
    if members is None or done.guilty not in members or not _in_time(done, chain):
        return False
    if done.height is not None and done.height < chain.member_since(done.guilty, height + 1):
        return False
    return clashes(piece)


def _in_time(done: Offence, chain: Chain) -> bool:
    """Whether it is neither settled nor too old."""
    return done.guilty not in chain.convicted and (done.height is None or done.height >= chain.window.first)


def evidence_stands(block: Block, chain: Chain) -> bool:
    """Whether a block's evidence is valid: each piece convicts somebody else."""
    if not block.evidence:
        return True
    convicts = {offence(piece).guilty for piece in block.evidence}
    return len(convicts) == len(block.evidence) and all(
        may_convict(piece, chain, block.height) for piece in block.evidence
    )


class EvidencePool:
    """The pieces that a node knows and no block has committed, in the order in which they were found."""

    def __init__(self, chain: Chain, pieces: Iterable[Evidence] = ()) -> None:
        self._chain = chain
        self._pieces: dict[Offence, Evidence] = {}
        for piece in pieces:
            self.add(piece)

    def pieces(self) -> tuple[Evidence, ...]:
        return tuple(self._pieces.values())

    def wants(self, piece: Evidence) -> bool:
        """Whether a piece is new and of use: asked before its signatures are checked."""
        done = offence(piece)
        if done in self._pieces or not self._lasts(done) or not clashes(piece):
            return False
        return sum(known.guilty == done.guilty for known in self._pieces) < PIECES_OF_ONE

    def _lasts(self, done: Offence) -> bool:
        """Whether a block may convict of it, this one or a later; what none can would keep out what does."""
        return self._chain.answers_for(done.guilty, done.height) and _in_time(done, self._chain)

    def add(self, piece: Evidence) -> bool:
        """Keep a piece whose signatures are good; False where it is not wanted."""
        if not self.wants(piece):
            return False
        self._pieces[offence(piece)] = piece
        return True

    def for_block(self) -> tuple[Evidence, ...]:
        """Return what the next block should commit: the first piece of each guilty."""
        chosen: dict[bytes, Evidence] = {}
        for done, piece in self._pieces.items():
            if done.guilty not in chosen and may_convict(piece, self._chain, self._chain.height + 1):
                chosen[done.guilty] = piece
        return tuple(chosen.values())[:EVIDENCE_MAX]

    def decided(self) -> tuple[Evidence, ...]:
        """Drop what can convict nobody any more; return what is to be sent again."""
        self._pieces = {done: piece for done, piece in self._pieces.items() if self._lasts(done)}
        return self.pieces() if self._chain.height % SEND_AGAIN_HEIGHTS == 0 else ()
