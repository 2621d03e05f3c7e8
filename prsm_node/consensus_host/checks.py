"""Signature checks of what validators sign: the only place where `Checked...` values of consensus are made.

A certificate embeds votes that often came alone before, so that the last good checks are remembered.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from consensus.blocks import CheckedProposal, Proposal, block_digest, proposal_signed_bytes
from consensus.certificates import Certificate, CheckedCertificate, votes_of
from consensus.dissemination.acknowledgements import (
    Acknowledgement,
    CheckedAcknowledgement,
    CheckedTipCertificate,
    TipCertificate,
    acknowledgement_signed_bytes,
    members_only,
)
from consensus.dissemination.batches import BatchHeader, batch_signed_bytes
from consensus.evidence import Evidence, verify
from consensus.guard import Step
from consensus.quorum import is_quorum
from consensus.validators import ValidatorSet
from consensus.votes import CheckedVote, Vote, VoteKind, vote_signed_bytes, well_formed
from prsm_node.identity import ed25519

# Four rounds of 2 x 256 votes and the acknowledgements of a busy second; an entry is about 300 bytes.
REMEMBERED_MAX = 4_096


class Checks:
    """Checks for one network. Each signature costs about 45 us, a remembered one 1 us."""

    def __init__(self, network: bytes) -> None:
        self._network = network
        self.signed: dict[bytes, Vote | Proposal] = {}
        """The message of the highest place that each validator was seen to sign, as proof (PROTOCOL, Twin).
        Of a proposal, without its polka: the signature does not cover it."""
        self.on_vote: Callable[[Vote], None] = lambda vote: None
        """Told of each good vote that is further than what its voter was seen to sign before."""
        self._good: OrderedDict[tuple[bytes, bytes, bytes], None] = OrderedDict()

    def signature(self, key: bytes, signature: bytes, message: bytes) -> bool:
        place = (key, signature, message)
        if place in self._good:
            return True
        if not ed25519.verify(key, signature, message):
            return False
        self._remember(place)
        return True

    def _remember(self, place: tuple[bytes, bytes, bytes]) -> None:
        self._good[place] = None
        if len(self._good) > REMEMBERED_MAX:
            self._good.popitem(last=False)

    def own(self, key: bytes, signature: bytes, message: bytes) -> None:
        """Our own signature, which comes back in certificates, needs no check."""
        self._remember((key, signature, message))

    def vote(self, vote: Vote) -> CheckedVote | None:
        """Return the vote as checked, or None where it is forged or malformed."""
        if not well_formed(vote) or not self.signature(
            vote.voter, vote.signature, vote_signed_bytes(self._network, vote)
        ):
            return None
        self._saw(vote.voter, vote)
        return CheckedVote(vote)

    def _saw(self, validator: bytes, message: Vote | Proposal) -> None:
        seen = self.signed.get(validator)
        if seen is None or signed_place(message) > signed_place(seen):
            self.signed[validator] = message
            if isinstance(message, Vote):
                self.on_vote(message)

    def recall(self, vote: Vote) -> None:
        """Know of a vote that an earlier run found good."""
        self._saw(vote.voter, vote)

    def signs(self, proposal: Proposal) -> bool:
        """Whether the proposer signed this proposal; whether it may be proposed is not asked."""
        message = proposal_signed_bytes(self._network, proposal)
        return self.signature(proposal.proposer, proposal.signature, message)

    def certificate(self, certificate: Certificate, validators: ValidatorSet) -> CheckedCertificate | None:
        if not could_certify([vote.voter for vote in certificate.votes], validators):
            return None
        if any(self.vote(vote) is None for vote in votes_of(certificate)):
            return None
        return CheckedCertificate(certificate)

    def commit(self, certificate: Certificate, validators: ValidatorSet) -> CheckedCertificate | None:
        """Check a decided block's certificate that was never seen before: what `certificate` does without
        remembering, so that a long sync pushes out nothing that agreement will see again."""
        if certificate.kind is not VoteKind.PRECOMMIT:
            return None
        if not could_certify([vote.voter for vote in certificate.votes], validators):
            return None
        messages: dict[int, bytes] = {}
        for vote, member in zip(votes_of(certificate), certificate.votes, strict=True):
            message = messages.get(member.mark)
            if message is None:
                if not well_formed(vote):
                    return None
                message = messages[member.mark] = vote_signed_bytes(self._network, vote)
            if not ed25519.verify(vote.voter, vote.signature, message):
                return None
        return CheckedCertificate(certificate)

    def proposal(self, proposal: Proposal, validators: ValidatorSet) -> CheckedProposal | None:
        """Check the proposer's signature, the evidence and, from line 28 on, that the polka is the one
        named."""
        if not self.signs(proposal) or not all(map(self.evidence, proposal.block.evidence)):
            return None
        polka = proposal.polka
        if (polka is None) != (proposal.valid_round < 0) or proposal.valid_round >= proposal.round:
            return None
        if polka is not None:
            place = (polka.kind, polka.height, polka.round, polka.value)
            named = (VoteKind.PREVOTE, proposal.height, proposal.valid_round, block_digest(proposal.block))
            if place != named or self.certificate(polka, validators) is None:
                return None
        self._saw(proposal.proposer, replace(proposal, polka=None))
        return CheckedProposal(proposal)

    def evidence(self, piece: Evidence) -> bool:
        """Whether a piece proves guilt. What is known of its guilty is asked elsewhere."""
        return verify(piece, self._network, self.signature)

    def batch(self, header: BatchHeader) -> bool:
        """Check the author's signature; what is in the body is the mempool's to check."""
        return self.signature(header.author, header.signature, batch_signed_bytes(self._network, header))

    def acknowledgement(self, given: Acknowledgement) -> CheckedAcknowledgement | None:
        message = acknowledgement_signed_bytes(self._network, given.author, given.sequence, given.digest)
        return (
            CheckedAcknowledgement(given) if self.signature(given.voter, given.signature, message) else None
        )

    def tip_certificate(
        self, certificate: TipCertificate, validators: ValidatorSet
    ) -> CheckedTipCertificate | None:
        made = members_only(certificate, validators)
        if made is None:
            return None
        message = acknowledgement_signed_bytes(
            self._network, certificate.author, certificate.sequence, certificate.digest
        )
        if not all(self.signature(voter, signature, message) for voter, signature in made.votes):
            return None
        return CheckedTipCertificate(made)


def signed_place(message: Vote | Proposal) -> tuple[int, int, int]:
    """Return (height, round, step) of what a validator signed."""
    if isinstance(message, Proposal):
        return message.height, message.round, Step.PROPOSE
    step = Step.PREVOTE if message.kind is VoteKind.PREVOTE else Step.PRECOMMIT
    return message.height, message.round, step


def could_certify(voters: Sequence[bytes], validators: ValidatorSet) -> bool:
    """Whether these are distinct members of the set and a quorum of it: asked before any signature."""
    powers = [validators.power(voter) for voter in voters]
    return len(set(voters)) == len(voters) and 0 not in powers and is_quorum(sum(powers), validators.total)
