"""What can happen to a validator, in the past tense. The host makes these; replica.py takes them.

`Replica.step(input, now_ms)` is told what the host's clock shows; nothing in this room reads one. What is
`Checked...` had its signatures checked by the host; what is not is held until it matters (PROTOCOL, Agreement
4).
"""

import msgspec

from consensus.blocks import Block, CheckedProposal
from consensus.certificates import CheckedCertificate
from consensus.dissemination.acknowledgements import CheckedAcknowledgement, CheckedTipCertificate
from consensus.dissemination.batches import CheckedBatch
from consensus.evidence import Evidence
from consensus.timers import Timer
from consensus.votes import CheckedVote, Vote

Link = int
"""Where a message came from: the host's number for a connection; 0 is this validator itself."""


class Input(msgspec.Struct, frozen=True):
    """What can happen."""


class Started(Input, frozen=True):
    """The host is ready to perform effects; nothing was asked of it before this."""


class TimerExpired(Input, frozen=True):
    timer: Timer


class VoteReceived(Input, frozen=True):
    """An unchecked vote. It takes no slot; the replica asks for its check when it could matter."""

    link: Link
    vote: Vote


class VotesChecked(Input, frozen=True):
    """The answer to CheckVotes: `good` are the ones whose signatures hold."""

    good: tuple[CheckedVote, ...]
    forged: tuple[Vote, ...] = ()


class ProposalReceived(Input, frozen=True):
    link: Link
    proposal: CheckedProposal


class CertificateReceived(Input, frozen=True):
    """A polka or a commit; a commit for a coming height says that this node lags."""

    link: Link
    certificate: CheckedCertificate


class BlockReceived(Input, frozen=True):
    """A block with the commit certificate that decides it: what sync and laggards are served with."""

    link: Link
    block: Block
    certificate: CheckedCertificate


class VoteCast(Input, frozen=True):
    """CastVote is done: signed, durable, on its way. Only now is it counted."""

    vote: CheckedVote


class ProposalCast(Input, frozen=True):
    proposal: CheckedProposal


class VotingAllowed(Input, frozen=True):
    """The twin check passed (PROTOCOL, Twin); until then the replica listens and signs nothing."""


class BatchSealed(Input, frozen=True):
    """The mempool closed a body of this node's own lane."""

    body: bytes
    """Its SHA-256; the bytes stay with the host."""


class BatchReceived(Input, frozen=True):
    """A batch of another lane, its body at hand and every signature in it checked."""

    link: Link
    batch: CheckedBatch


class BatchCast(Input, frozen=True):
    """CastBatch is done: signed, durable, on its way; our own acknowledgement is in it."""

    batch: CheckedBatch
    acknowledgement: CheckedAcknowledgement


class AcknowledgementReceived(Input, frozen=True):
    link: Link
    acknowledgement: CheckedAcknowledgement


class TipCertificateReceived(Input, frozen=True):
    link: Link
    certificate: CheckedTipCertificate


class EvidenceReceived(Input, frozen=True):
    """A peer found somebody guilty; `evidence.verify` holds."""

    link: Link
    evidence: Evidence


class BlockExecuted(Input, frozen=True):
    """State after `height` is computed; blocks from height + 2 on name its root."""

    height: int
    state_root: bytes
    transactions: int
    """How many this block executed; a root after them stays open until it is named (Blocks 6)."""
    next_set: tuple[tuple[bytes, int], ...]
    """(key, power) of the set that is in force from height + 3."""


class PeerHeightChanged(Input, frozen=True):
    """What a validator says its executed height is (Agreement 8)."""

    validator: bytes
    height: int
