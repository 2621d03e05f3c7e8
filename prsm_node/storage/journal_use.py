"""Which of the journal's segments the kept blocks' bodies lie in, so that the others can go.

A body was written when its batch came, which for a lane that rested may be long before its block: no order
of heights is an order of positions. Segments are few, so for each the last height that needs it is kept.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from prsm_node.storage.blocks import BatchRecord
from prsm_node.storage.environment import Environment
from prsm_node.storage.generation import OWN
from prsm_node.storage.journal_segments import first_position, segment_of

KEY: Final = b"segments"


class Segments:
    """Last heights by segment; written with each commit in which one changed."""

    def __init__(self, environment: Environment) -> None:
        stored = environment.get(environment.meta, OWN + KEY)
        self._last: dict[int, int] = (
            {} if stored is None else msgspec.msgpack.decode(stored, type=dict[int, int])
        )
        self._changed = False

    def add(self, height: int, batches: Iterable[BatchRecord]) -> None:
        """A block of this height, above all before, has its bodies there."""
        for batch in batches:
            self._last[segment_of(batch.position)] = height
            self._changed = True

    def prune(self, first: int) -> None:
        """Blocks below `first` are gone."""
        self._last = {segment: last for segment, last in self._last.items() if last >= first}
        self._changed = True

    def oldest(self, first: int) -> int | None:
        """Return where the oldest segment begins that a block from `first` on needs."""
        needed = [segment for segment, last in self._last.items() if last >= first]
        return first_position(min(needed)) if needed else None

    def changed(self) -> Mapping[bytes, bytes]:
        """Return what the next commit has to write."""
        if not self._changed:
            return {}
        self._changed = False
        return {KEY: msgspec.msgpack.encode(self._last)}
