"""How old an offence may be when a block convicts of it, by the chain's own time (PROTOCOL, Evidence).

The window is the unbonding time: who has left for longer has nothing at stake. A week is millions of blocks,
so that only some of their times are kept: a height counts as inside from the first mark inside on.
"""

from typing import Annotated

import msgspec

from consensus.bounds import Height, TimeMs

MARKS = 64
"""Marks in a full window. An offence is dropped up to a 64th of the window early, never late."""


class EvidenceWindow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The times of some decided blocks, the oldest of them inside the window."""

    marks: Annotated[tuple[tuple[Height, TimeMs], ...], msgspec.Meta(max_length=MARKS + 2)] = ()
    """(height, Unix ms), rising."""

    def after(self, height: int, time_ms: int, length_ms: int) -> "EvidenceWindow":
        """Return the window with block `height` decided; `length_ms` is the same for all of a chain."""
        kept = self.marks
        if kept and kept[0][1] < time_ms - length_ms:
            kept = tuple(mark for mark in kept if mark[1] >= time_ms - length_ms)
        if kept and (time_ms - kept[-1][1]) * MARKS < length_ms:
            return self if kept is self.marks else EvidenceWindow(kept)
        return EvidenceWindow((*kept, (height, time_ms)))

    @property
    def first(self) -> int:
        """The least height whose offences a block may still convict of."""
        return self.marks[0][0] if self.marks else 1
