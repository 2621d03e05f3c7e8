"""What a replica knows of the decided chain: its last block, the validator sets in force, the roots of state.

PROTOCOL, Blocks 1: a header names the root of state after height - 2 and the set of height + 1; what block h
changes is in force from h + 3.
"""

from collections.abc import Mapping

import msgspec

from consensus.blocks import Block, Tip
from consensus.dissemination.acknowledgements import TipCertificate, members_only
from consensus.evidence import guilty
from consensus.evidence_window import EvidenceWindow
from consensus.validators import ValidatorSet

Since = Mapping[bytes, int]
"""Of each member of a set, the height from which on it was one without a gap."""


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
    """The last height that ordered something; its root is open until header last_work + 2 is decided."""
    since: Mapping[int, Since] = {}
    """Of the sets in `sets`, by height; who is not named was a member from the genesis on."""
    convicted: frozenset[bytes] = frozenset()
    """Whom blocks up to `height` convicted."""
    window: EvidenceWindow = EvidenceWindow()
    """After `height`."""
    window_ms: int = 7 * 24 * 3_600_000
    """The unbonding time."""


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
        self.convicted = start.convicted
        self.window = start.window
        self._window_ms = start.window_ms
        self._roots = dict(start.roots)
        self._sets = dict(start.sets)
        self._since = {height: start.since.get(height, {}) for height in start.sets}

    def validators(self, height: int) -> ValidatorSet | None:
        """Return the set of a height, None where it is not known yet (or no longer)."""
        return self._sets.get(height)

    def knows(self, key: bytes) -> bool:
        """Whether a key is in any set known here, of the last few heights or the next."""
        return any(key in members for members in self._sets.values())

    def answers_for(self, key: bytes, height: int | None) -> bool:
        """Whether a key is in a set known here, and was from this height on; None for whenever it joined."""
        return any(
            key in members and (height is None or height >= self.member_since(key, of))
            for of, members in self._sets.items()
        )

    def certified(self, certificate: TipCertificate) -> bool:
        """Whether it is a quorum of any set known here."""
        return any(members_only(certificate, members) is not None for members in self._sets.values())

    def member_since(self, key: bytes, height: int) -> int:
        """Return from which height on a member of the set of `height` was one without a gap; 0 for the
        genesis."""
        return self._since[height].get(key, 0)

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
        self.window = self.window.after(block.height, block.time_ms, self._window_ms)
        if block.evidence:
            self.convicted |= {guilty(piece) for piece in block.evidence}
        if block.works:
            self.last_work = block.height

    def executed_at(self, height: int, root: bytes, next_set: tuple[tuple[bytes, int], ...]) -> None:
        assert height == self.executed + 1, f"height {height} executed after {self.executed}"
        self.executed = height
        self._roots[height] = root
        before, since = self._sets[height + 2], self._since[height + 2]
        if before.pairs() == next_set:
            self._sets[height + 3], self._since[height + 3] = before, since
        else:
            after = self._sets[height + 3] = ValidatorSet.of(next_set)
            self._since[height + 3] = {
                key: since.get(key, 0) if key in before else height + 3 for key in after.powers
            }
        for old in [h for h in self._roots if h < height - 4]:
            del self._roots[old]
        for old in [h for h in self._sets if h < height - 8]:
            del self._sets[old], self._since[old]
