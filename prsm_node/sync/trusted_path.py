"""The hashes of all blocks from this node's tip up to the block that its operator trusts.

A certificate of former validators looks as good as any, so a chain is followed up to the trusted block only
once it is known to lead there (PROTOCOL, Joining): headers are walked down from the trusted one, each named
by the hash in the one above. Nothing in it can be forged, no set needs to be known, and a rival history is
refused before any of it is executed.
"""

from collections.abc import Sequence

from consensus.blocks import Block
from prsm_node.sync.ancestry import ancestors
from prsm_node.sync.sources import Lie
from prsm_node.wire.payloads import HEADERS_WANTED_MAX, HeadersWanted

# Hashes kept of the lowest heights: 65,536 x about 130 bytes = 9 MB. For those above them one mark each
# MARK_EVERY heights is kept, from which they are walked again when execution comes near.
KEPT_MAX = 65_536
MARK_EVERY = KEPT_MAX // 2


class OffTheWay(Exception):
    """The trusted block's ancestors are not this node's own blocks."""


class TrustedPath:
    """Args:
    height, digest: of the trusted block.
    base_height, base_digest: of this node's last executed block, below it.
    """

    def __init__(self, height: int, digest: bytes, base_height: int, base_digest: bytes) -> None:
        assert base_height < height, f"nothing lies between {base_height} and the trusted {height}"
        self.height = height
        self.proven = False
        """Whether the walk has met this node's own chain."""
        self.lost = False
        """Whether it ended beside it: there is nothing more to ask."""
        self._marks = {height: digest}
        self._known: dict[int, bytes] = {}
        """In order of walking: the greatest height first."""
        self._base = base_height
        self._top = base_height
        """From the base up to here every hash is known, once proven."""
        self._floor, self._floor_digest = base_height, base_digest
        self._at, self._at_digest = height, digest
        """The header that is asked for next."""
        self._known[height] = digest

    @property
    def top(self) -> int:
        """Up to here, from this node's own tip, every hash is known."""
        return self._top if self.proven else self._base

    @property
    def at(self) -> int:
        """The height of the header that is asked for next, or where the last walk ended."""
        return self._at

    def digest(self, height: int) -> bytes | None:
        """Return the hash that the block at this height must have; None where it is not known."""
        return self._known.get(height) if self.proven and height <= self._top else None

    def covers(self, height: int) -> bool:
        """Whether what this block may be is fixed by the trusted one."""
        return height <= self.height

    def wanted(self, near: int) -> HeadersWanted | None:
        """Return the next question, None where the hashes of the heights up to `near` are known."""
        if self._at == self._floor:
            if self._top >= min(near, self.height):
                return None
            self._walk_again()
        return HeadersWanted(self._at, min(HEADERS_WANTED_MAX, self._at - self._floor))

    def _walk_again(self) -> None:
        self._floor, self._floor_digest = self._top, self._known[self._top]
        self._at = min(mark for mark in self._marks if mark > self._top)
        self._at_digest = self._known[self._at] = self._marks[self._at]

    def take(self, headers: Sequence[Block]) -> None:
        """Walk on over an answer. Raise Lie at the first header that is not the one asked for, OffTheWay
        where the way does not lead to this node's own chain. What came before a lie is kept."""
        if not 0 < len(headers) <= self._at - self._floor:
            raise Lie("sync.headers")
        for header in ancestors(headers, self._at, self._at_digest, self.height):
            self._at, self._at_digest = header.height - 1, header.parent
            if self._at == self._floor:
                self._met(header)
                return
            self._known[self._at] = header.parent
            if len(self._known) > KEPT_MAX:
                self._drop_highest()

    def _met(self, header: Block) -> None:
        if header.parent != self._floor_digest:
            self.lost = True
            raise OffTheWay
        self.proven = True
        # Walked downwards, what is kept is without a gap from the lowest up to the highest kept.
        top = self._floor
        while top + 1 in self._known:
            top += 1
        self._top = top

    def _drop_highest(self) -> None:
        height = next(iter(self._known))
        digest = self._known.pop(height)
        if height % MARK_EVERY == 0:
            self._marks[height] = digest

    def executed(self, height: int) -> None:
        """Forget what lies below a height that is executed; its own hash is where a next walk ends."""
        while self._base < height:
            self._known.pop(self._base, None)
            self._base += 1
