"""Following a chain by its certificates: each block upon the one before, by the set that the headers name.

The checks are in order of cost: hashes, then one certificate's signatures, then the batches' authors, so that
a liar costs one certificate at most. What passes is final, whoever gave it; what does not names its giver.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from consensus.blocks import Block
from consensus.certificates import Certificate
from consensus.dissemination.batches import BatchHeader, batch_digest
from consensus.validators import ValidatorSet
from prsm_node.sync.lookahead import Arrived
from prsm_node.sync.sources import Lie
from prsm_node.wire.payloads import Batch


class Fork(Exception):
    """A block is certified that does not follow the one before it, which is certified too."""


class Trust(Protocol):
    """What is checked by this node's own state and keys."""

    def validators(self, height: int) -> ValidatorSet | None:
        """Return the set of a height, None where too little is executed to know it."""

    def certifies(self, certificate: Certificate, validators: ValidatorSet) -> bool:
        """Whether a quorum of the set signed it, every signature in it being good."""

    def signed(self, header: BatchHeader) -> bool:
        """Whether a batch's author signed it."""

    def executed_tip(self, author: bytes) -> bytes:
        """Return the digest up to which a lane is executed."""


class Following:
    """Begins upon the block at `height` with this hash."""

    def __init__(self, trust: Trust, height: int, digest: bytes) -> None:
        self.height = height
        """Of the last block that passed."""
        self._trust = trust
        self._digest = digest
        self._set: ValidatorSet | None = None
        self._named: bytes | None = None
        """The hash of the next height's set, as the last block names it."""
        self._tips: dict[bytes, bytes] = {}
        """How far the lanes are ordered by blocks that passed and may not be executed yet."""

    def check(self, arrived: Arrived) -> None:
        """Take the next block. Raise Lie, or Fork where it and the one before can't both be honest."""
        block, validators = arrived.block, self.certify(arrived)
        complete(block, arrived.item.batches, self.stood)
        if not all(self._trust.signed(batch.header) for batch in arrived.item.batches):
            raise Lie("sync.batch")
        self.height, self._digest = block.height, arrived.digest
        self._set, self._named = validators, block.next_validators
        for tip in block.tips:
            self._tips[tip.author] = tip.digest

    def certify(self, arrived: Arrived) -> ValidatorSet:
        """Return the set that signed the next block, whatever comes with it. Raise as `check` does."""
        block, certificate = arrived.block, arrived.item.committed.certificate
        assert block.height == self.height + 1, f"block {block.height} after {self.height}"
        validators = self._validators(block.height)
        assert validators is not None, f"the set of {block.height} is not known yet"
        follows = block.parent == self._digest
        if not self._trust.certifies(certificate, validators):
            raise Lie("sync.certificate" if follows else "sync.block")
        if not follows:
            raise Fork
        return validators

    def _validators(self, height: int) -> ValidatorSet | None:
        """The set of the next height: as executed, or the last one's where the header says that it stays."""
        known = self._trust.validators(height)
        if known is None and self._set is not None and self._set.hash == self._named:
            return self._set
        return known

    def ready(self) -> bool:
        """Whether the next block can be checked; otherwise more has to be executed first."""
        return self._validators(self.height + 1) is not None

    def stood(self, author: bytes) -> bytes:
        """Return the digest up to which a lane is ordered."""
        return self._tips.get(author) or self._trust.executed_tip(author)


def complete(block: Block, batches: Sequence[Batch], stood: Callable[[bytes], bytes]) -> None:
    """Raise Lie unless these are all batches that the block orders, each author's lane from where it
    stood."""
    parents = {batch_digest(batch.header): batch.header.parent for batch in batches}
    for tip in block.tips:
        below, digest = stood(tip.author), tip.digest
        while digest != below:
            parent = parents.pop(digest, None)
            if parent is None:
                raise Lie("sync.batch")
            digest = parent
    if parents:
        raise Lie("sync.batch")
