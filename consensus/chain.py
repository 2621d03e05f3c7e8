"""What a replica knows of the decided chain: its last block, the validator sets in force, the roots of state.

PROTOCOL, Blocks 1: a header names the root of state after height - 2 and the set of height + 1; what block h
changes is in force from h + 3.
"""

import msgspec

from consensus.blocks import Block, Tip
from consensus.validators import ValidatorSet


class ChainStart(msgspec.Struct, frozen=True):
    """Where a replica takes the chain up: what the host's storage holds."""

    height: int
    """Of the last decided and executed block; 0 is the genesis."""
    digest: bytes
    """Of that block; of the genesis document for 0."""
    time_ms: int
    tips: tuple[Tip, ...]
    """The committed tip of each lane that has one."""
    roots: dict[int, bytes]
    """State roots by height: of `height` and, above the genesis, of `height` - 1."""
    sets: dict[int, ValidatorSet]
    """Of the heights `height` + 1 to `height` + 3."""
    last_work: int = 0
    """The last height that ordered a batch; its root is open until header last_work + 2 is decided."""


class Chain:
    """The tip of the decided chain."""

    def __init__(self, start: ChainStart) -> None:
        assert {start.height + 1, start.height + 2, start.height + 3} <= start.sets.keys(), (
            "three sets are in force"
        )
        self.height = start.height
        self.digest = start.digest
        self.time_ms = start.time_ms
        self.executed = start.height
        self.last_work = start.last_work
        self._roots = dict(start.roots)
        self._sets = dict(start.sets)

    def validators(self, height: int) -> ValidatorSet | None:
        """Return the set of a height, None where it is not known yet (or no longer)."""
        return self._sets.get(height)

    def root_for(self, height: int) -> bytes | None:
        """Return the root that header `height` names; None until height - 2 is executed."""
        return self._roots.get(max(height - 2, 0))

    def open_root(self) -> bool:
        """Whether blocks follow without waiting (Blocks 6)."""
        return self.last_work > 0 and self.height < self.last_work + 2

    def append(self, block: Block, digest: bytes) -> None:
        assert block.height == self.height + 1, f"block {block.height} decided after {self.height}"
        assert block.parent == self.digest, f"block {block.height} is no child of the block decided before it"
        self.height, self.digest, self.time_ms = block.height, digest, block.time_ms
        if block.tips:
            self.last_work = block.height

    def executed_at(self, height: int, root: bytes, next_set: tuple[tuple[bytes, int], ...]) -> None:
        assert height == self.executed + 1, f"height {height} executed after {self.executed}"
        self.executed = height
        self._roots[height] = root
        before = self._sets[height + 2]
        self._sets[height + 3] = before if before.pairs() == next_set else ValidatorSet.of(next_set)
        for old in [h for h in self._roots if h < height - 4]:
            del self._roots[old]
        for old in [h for h in self._sets if h < height - 8]:
            del self._sets[old]
