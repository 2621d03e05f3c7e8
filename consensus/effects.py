"""What a replica asks of the world, in the imperative. Each says what must be durable before what.

The host performs a step's effects in order. A failed effect never becomes silence: it ends the daemon,
which says why. What could not be made durable is never sent.
"""

import msgspec

from consensus.blocks import Block, CheckedProposal, Proposal
from consensus.certificates import CheckedCertificate
from consensus.dissemination.acknowledgements import Acknowledgement, CheckedTipCertificate
from consensus.dissemination.batches import BatchHeader
from consensus.evidence import Evidence
from consensus.guard import Guard
from consensus.inputs import Link
from consensus.timers import Timer
from consensus.votes import CheckedVote, Vote


class Effect(msgspec.Struct, frozen=True):
    """What is asked."""


class CastVote(Effect, frozen=True):
    """Sign, make the guard durable, send to all, answer VoteCast. A failure ends the daemon: a vote
    forgotten could be cast twice."""

    vote: Vote
    guard: Guard
    """As it stands with this vote; the host adds the signed bytes to `signed`."""


class CastProposal(Effect, frozen=True):
    """Sign, make block and guard durable, send to all, answer ProposalCast."""

    proposal: Proposal
    guard: Guard


class CastBatch(Effect, frozen=True):
    """Sign, make header and body durable with our own acknowledgement, send to all, answer BatchCast."""

    header: BatchHeader


class CastAcknowledgement(Effect, frozen=True):
    """Make the batch durable, sign, send to its author."""

    batch: BatchHeader
    acknowledgement: Acknowledgement


class SetTimer(Effect, frozen=True):
    timer: Timer
    delay_ms: int


class CheckVotes(Effect, frozen=True):
    """Check these signatures, in one batch; answer VotesChecked."""

    votes: tuple[Vote, ...]


class SendCertificate(Effect, frozen=True):
    """Forward a polka or a commit to all, or, with `link`, to one who lags."""

    certificate: CheckedCertificate
    link: Link | None = None
    besides: tuple[bytes, ...] = ()
    """Validators that know it already; without `link`, all others get it."""


class SendTipCertificate(Effect, frozen=True):
    certificate: CheckedTipCertificate


class SendCommitted(Effect, frozen=True):
    """Give one who lags the block of this decided height, with its certificate."""

    height: int
    link: Link


class SendAgain(Effect, frozen=True):
    """Send the stored bytes of this height's own messages again (Agreement 2)."""

    height: int


class SendProposal(Effect, frozen=True):
    """Hand on a proposal of another, to all: its proposer seems to have shown some of them another one."""

    proposal: CheckedProposal


class SendVotes(Effect, frozen=True):
    """Hand on votes of others that were counted here, to all: a height lasts, so somebody may lack them."""

    votes: tuple[CheckedVote, ...]


class SendBatchAgain(Effect, frozen=True):
    """Send an own batch again that lacks acknowledgements."""

    digest: bytes


class FetchBatch(Effect, frozen=True):
    """A batch of this lane is missing below one we saw; ask `link` first, then others. Answers
    BatchReceived."""

    author: bytes
    digest: bytes
    link: Link


class FetchTipCertificate(Effect, frozen=True):
    """A proposal lists a tip whose certificate we lack (Blocks 2). Answers TipCertificateReceived."""

    author: bytes
    sequence: int
    digest: bytes
    link: Link


class FetchBlock(Effect, frozen=True):
    """A value has a quorum but its block is not here. Answers ProposalReceived or BlockReceived."""

    height: int
    value: bytes
    link: Link


class CatchUp(Effect, frozen=True):
    """The network is at `height` or beyond; ask for the blocks in between."""

    height: int
    link: Link


class PrepareBlock(Effect, frozen=True):
    """A polka stands for this block: bring in what it lists and execute it ahead, where nobody sees it
    before its decision."""

    block: Block


class Decide(Effect, frozen=True):
    """Make block and certificate durable, execute, answer BlockExecuted. Decisions come in order of
    height."""

    block: Block
    certificate: CheckedCertificate


class StrengthenCommit(Effect, frozen=True):
    """Late precommits made the certificate of a decided height stronger: keep this one instead."""

    certificate: CheckedCertificate


class ReportEvidence(Effect, frozen=True):
    """A validator is provably guilty, of what was not known here: keep the proof until a block commits it,
    and send it to all."""

    evidence: Evidence


class SendEvidence(Effect, frozen=True):
    """Send proofs to all again that still wait for a block."""

    pieces: tuple[Evidence, ...]


class Halt(Effect, frozen=True):
    """Two decisions at one height were proven. Export the proof, say so, end the daemon."""

    reason: str
    proof: tuple[CheckedCertificate, ...] = ()
    """The two commit certificates, where both are at hand, then the polkas of their height:
    `evidence.conflicting_certificates` names who is guilty."""
