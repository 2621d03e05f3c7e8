"""Signatures as they should be: one passes the check of exactly what its key signed, and nothing else does.

Ed25519 would cost 32 us a check. Here a signature is a short digest, good for the content that it was made
for; whoever lacks the key can copy one and make none. The checks are the daemon's (consensus_host/checks.py):
the same questions in the same order, so that what a daemon refuses takes no slot here either.
"""

from collections.abc import Sequence
from hashlib import sha256

import msgspec
from msgspec.structs import astuple, replace

from consensus.blocks import CheckedProposal, Proposal, block_digest, proposal_header
from consensus.certificates import Certificate, CheckedCertificate, votes_of
from consensus.dissemination.acknowledgements import (
    Acknowledgement,
    CheckedAcknowledgement,
    CheckedTipCertificate,
    TipCertificate,
)
from consensus.dissemination.batches import BatchHeader, CheckedBatch, batch_digest
from consensus.evidence import (
    AcknowledgementEquivocation,
    BatchEquivocation,
    Evidence,
    ProposalEquivocation,
    clashes,
)
from consensus.proposal_header import ProposalHeader
from consensus.quorum import is_quorum
from consensus.validators import ValidatorSet
from consensus.votes import CheckedVote, Vote, VoteKind, well_formed

FORGED = b"forged"
"""What somebody writes who lacks the key."""


class Signatures:
    """What was signed in one cluster."""

    def __init__(self) -> None:
        self._made: dict[bytes, object] = {}
        self._good: dict[tuple[int, bytes], object] = {}
        """Certificates that passed, with the hash of the set; kept, so that no id comes twice."""

    def _sign(self, *content: object) -> bytes:
        signature = sha256(msgspec.msgpack.encode(content)).digest()[:16]
        self._made[signature] = content
        return signature

    def _holds(self, signature: bytes, *content: object) -> bool:
        return self._made.get(signature) == content

    # --- signing: for who has the key -----------------------------------------------------------------

    def sign_vote(self, vote: Vote) -> CheckedVote:
        return CheckedVote(replace(vote, signature=self._sign(*_vote(vote))))

    def sign_proposal(self, proposal: Proposal) -> CheckedProposal:
        return CheckedProposal(replace(proposal, signature=self._sign(*_proposal(proposal))))

    def sign_batch(self, batch: BatchHeader) -> CheckedBatch:
        return CheckedBatch(replace(batch, signature=self._sign(batch.author, batch_digest(batch))))

    def sign_acknowledgement(self, given: Acknowledgement) -> CheckedAcknowledgement:
        signature = self._sign(given.voter, given.author, given.sequence, given.digest)
        return CheckedAcknowledgement(replace(given, signature=signature))

    # --- checking -------------------------------------------------------------------------------------

    def vote(self, vote: Vote) -> bool:
        return well_formed(vote) and self._holds(vote.signature, *_vote(vote))

    def certificate(self, certificate: Certificate, validators: ValidatorSet) -> bool:
        place = (id(certificate), validators.hash)
        if place in self._good:
            return True
        if not _could_certify([vote.voter for vote in certificate.votes], validators):
            return False
        if not all(self.vote(vote) for vote in votes_of(certificate)):
            return False
        self._good[place] = certificate
        return True

    def decides(self, certificate: Certificate, value: bytes, height: int, validators: ValidatorSet) -> bool:
        """Whether this is a commit of a block."""
        place = (certificate.kind, certificate.height, certificate.value)
        return place == (VoteKind.PRECOMMIT, height, value) and self.certificate(certificate, validators)

    def proposal(self, proposal: Proposal, validators: ValidatorSet) -> bool:
        if not self._holds(proposal.signature, *_proposal(proposal)):
            return False
        if not all(map(self.evidence, proposal.block.evidence)):
            return False
        polka = proposal.polka
        if (polka is None) != (proposal.valid_round < 0) or proposal.valid_round >= proposal.round:
            return False
        if polka is None:
            return True
        place = (polka.kind, polka.height, polka.round, polka.value)
        named = (VoteKind.PREVOTE, proposal.height, proposal.valid_round, block_digest(proposal.block))
        return place == named and self.certificate(polka, validators)

    def batch(self, batch: BatchHeader) -> bool:
        return self._holds(batch.signature, batch.author, batch_digest(batch))

    def acknowledgement(self, given: Acknowledgement) -> bool:
        return self._holds(given.signature, given.voter, given.author, given.sequence, given.digest)

    def evidence(self, piece: Evidence) -> bool:
        """Whether it proves guilt (`evidence.verify`)."""
        if isinstance(piece, ProposalEquivocation):
            signed = all(self._holds(h.signature, *_header(h)) for h in (piece.first, piece.second))
        elif isinstance(piece, BatchEquivocation):
            signed = self.batch(piece.first) and self.batch(piece.second)
        elif isinstance(piece, AcknowledgementEquivocation):
            signed = self.acknowledgement(piece.first) and self.acknowledgement(piece.second)
        else:
            signed = all(map(self.vote, astuple(piece)))
        return signed and clashes(piece)

    def tip_certificate(self, certificate: TipCertificate, validators: ValidatorSet) -> bool:
        place = (id(certificate), validators.hash)
        if place in self._good:
            return True
        if not _could_certify([voter for voter, _ in certificate.votes], validators):
            return False
        named = (certificate.author, certificate.sequence, certificate.digest)
        if not all(self._holds(signature, voter, *named) for voter, signature in certificate.votes):
            return False
        self._good[place] = certificate
        return True


def forged(certificate: Certificate) -> CheckedCertificate:
    """Claim a certificate that nobody signed. It is called checked only to travel as one does."""
    votes = tuple(replace(vote, signature=FORGED) for vote in certificate.votes)
    return CheckedCertificate(replace(certificate, votes=votes))


def tip_certificate_of(batch: BatchHeader, votes: tuple[tuple[bytes, bytes], ...]) -> CheckedTipCertificate:
    """Bundle acknowledgements of a batch, whoever made them."""
    certificate = TipCertificate(batch.author, batch.sequence, batch_digest(batch), votes)
    return CheckedTipCertificate(certificate)


def _vote(vote: Vote) -> tuple[object, ...]:
    return (vote.voter, vote.kind, vote.height, vote.round, vote.value, vote.polka_round, vote.diverged)


def _proposal(proposal: Proposal) -> tuple[object, ...]:
    return _header(proposal_header(proposal))


def _header(header: ProposalHeader) -> tuple[object, ...]:
    return (header.proposer, header.height, header.round, header.valid_round, header.value)


def _could_certify(voters: Sequence[bytes], validators: ValidatorSet) -> bool:
    powers = [validators.power(voter) for voter in voters]
    return len(set(voters)) == len(voters) and 0 not in powers and is_quorum(sum(powers), validators.total)
