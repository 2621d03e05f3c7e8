"""Who is provably guilty (PROTOCOL, Evidence): equivocation and amnesia, from signed messages alone.

Each piece embeds what was signed and needs nothing else to be judged but the network id; that the guilty was
a validator then is for the reader, who has the sets. An honest validator, restarts included, can sign none of
these pairs: the guard keeps it from two messages at one place, and `polka_round` tells a lock given up for a
later polka from one forgotten (tests/consensus/test_evidence.py exhausts small networks).
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from typing import Annotated

import msgspec

from consensus.bounds import Height, Round, Sequence, ValidatorKey
from consensus.certificates import Certificate, votes_of
from consensus.dissemination.acknowledgements import (
    Acknowledgement,
    TipCertificate,
    acknowledgement_signed_bytes,
)
from consensus.dissemination.batches import BatchHeader, batch_content, batch_signed_bytes
from consensus.proposal_header import ProposalHeader, header_signed_bytes
from consensus.votes import NIL, Vote, VoteKind, vote_content, vote_signed_bytes, well_formed

Check = Callable[[bytes, bytes, bytes], bool]
"""(key, signature, message) -> whether the signature is the key's over the message."""


class VoteEquivocation(msgspec.Struct, frozen=True, array_like=True, tag="vote", forbid_unknown_fields=True):
    """Two votes of one kind at one (height, round)."""

    first: Vote
    second: Vote


class ProposalEquivocation(
    msgspec.Struct, frozen=True, array_like=True, tag="proposal", forbid_unknown_fields=True
):
    """Two proposals at one (height, round)."""

    first: ProposalHeader
    second: ProposalHeader


class BatchEquivocation(
    msgspec.Struct, frozen=True, array_like=True, tag="batch", forbid_unknown_fields=True
):
    """Two batches of one author at one sequence."""

    first: BatchHeader
    second: BatchHeader


class AcknowledgementEquivocation(
    msgspec.Struct, frozen=True, array_like=True, tag="acknowledgement", forbid_unknown_fields=True
):
    """Two digests acknowledged at one (author, sequence)."""

    first: Acknowledgement
    second: Acknowledgement


class Amnesia(msgspec.Struct, frozen=True, array_like=True, tag="amnesia", forbid_unknown_fields=True):
    """A lock forgotten: a later prevote for another value that names no polka above the lock."""

    precommit: Vote
    prevote: Vote


Evidence = VoteEquivocation | ProposalEquivocation | BatchEquivocation | AcknowledgementEquivocation | Amnesia
"""At most 400 bytes each, encoded."""


class Offence(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a piece convicts of: two pieces of one offence say the same."""

    guilty: ValidatorKey
    kind: Annotated[str, msgspec.Meta(max_length=16)]
    """prevote, precommit, proposal, batch or acknowledgement, signed twice; or amnesia."""
    height: Height | None = None
    """None in a lane: what is signed there names no height."""
    round: Round | None = None
    """Of amnesia, the later one."""
    author: ValidatorKey | None = None
    """Of the lane."""
    sequence: Sequence | None = None

    def __str__(self) -> str:
        """What was done, as in "signed two prevotes at height 5, round 0"."""
        if self.kind == "amnesia":
            return f"forgot a lock at height {self.height}, round {self.round}"
        if self.height is not None:
            return f"signed two {self.kind}s at height {self.height}, round {self.round}"
        many = "batches" if self.kind == "batch" else f"{self.kind}s"
        return f"signed two {many} at sequence {self.sequence}"


def offence(evidence: Evidence) -> Offence:
    """Return what the evidence convicts of, and whom."""
    if isinstance(evidence, VoteEquivocation):
        vote = evidence.first
        return Offence(vote.voter, vote.kind.name.lower(), vote.height, vote.round)
    if isinstance(evidence, ProposalEquivocation):
        return Offence(evidence.first.proposer, "proposal", evidence.first.height, evidence.first.round)
    if isinstance(evidence, BatchEquivocation):
        batch = evidence.first
        return Offence(batch.author, "batch", author=batch.author, sequence=batch.sequence)
    if isinstance(evidence, AcknowledgementEquivocation):
        given = evidence.first
        return Offence(given.voter, "acknowledgement", author=given.author, sequence=given.sequence)
    prevote = evidence.prevote
    return Offence(prevote.voter, "amnesia", prevote.height, prevote.round)


def guilty(evidence: Evidence) -> bytes:
    """Return the key that the evidence convicts."""
    return offence(evidence).guilty


def is_equivocation(first: Vote, second: Vote) -> bool:
    """Whether one voter signed two contents where an honest one signs once. Marks are content too."""
    return (
        first.voter == second.voter
        and first.kind is second.kind
        and first.height == second.height
        and first.round == second.round
        and (first.value, first.polka_round, first.diverged)
        != (second.value, second.polka_round, second.diverged)
    )


def is_amnesia(precommit: Vote, prevote: Vote) -> bool:
    """PROTOCOL: precommit(r, v) and prevote(r', v', polka_round j) with r < r', v != v', j <= r.

    Neither the pair alone nor the proposal's valid_round may be looked at instead: both convict the honest.
    """
    return (
        precommit.voter == prevote.voter
        and precommit.kind is VoteKind.PRECOMMIT
        and prevote.kind is VoteKind.PREVOTE
        and precommit.height == prevote.height
        and precommit.round < prevote.round
        and precommit.value is not NIL
        and prevote.value is not NIL
        and precommit.value != prevote.value
        and prevote.polka_round <= precommit.round
    )


def evidence_of_votes(first: Vote, second: Vote) -> VoteEquivocation | Amnesia | None:
    """Return what two votes prove together, if anything."""
    if is_equivocation(first, second):
        return VoteEquivocation(first, second)
    if is_amnesia(first, second):
        return Amnesia(first, second)
    if is_amnesia(second, first):
        return Amnesia(second, first)
    return None


def evidence_of_proposals(first: ProposalHeader, second: ProposalHeader) -> ProposalEquivocation | None:
    """Return what two proposals prove together, if anything."""
    same_place = (first.proposer, first.height, first.round) == (second.proposer, second.height, second.round)
    if not same_place or (first.valid_round, first.value) == (second.valid_round, second.value):
        return None
    return ProposalEquivocation(first, second)


def clashes(evidence: Evidence) -> bool:
    """Whether these messages, if they are signed, prove guilt: they clash as their kind says."""
    if isinstance(evidence, VoteEquivocation):
        return is_equivocation(evidence.first, evidence.second) and _well_formed(
            evidence.first, evidence.second
        )
    if isinstance(evidence, Amnesia):
        return is_amnesia(evidence.precommit, evidence.prevote) and _well_formed(
            evidence.precommit, evidence.prevote
        )
    if isinstance(evidence, ProposalEquivocation):
        return evidence_of_proposals(evidence.first, evidence.second) is not None
    if isinstance(evidence, BatchEquivocation):
        first, second = evidence.first, evidence.second
        same_place = (first.author, first.sequence) == (second.author, second.sequence)
        return same_place and batch_content(first) != batch_content(second)
    given, other = evidence.first, evidence.second
    return (
        (given.voter, given.author, given.sequence) == (other.voter, other.author, other.sequence)
    ) and given.digest != other.digest


def _well_formed(*votes: Vote) -> bool:
    return all(well_formed(vote) for vote in votes)


def _signed(evidence: Evidence, network: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield (key, signature, message) of both messages."""
    if isinstance(evidence, VoteEquivocation | Amnesia):
        for vote in msgspec.structs.astuple(evidence):
            yield vote.voter, vote.signature, vote_signed_bytes(network, vote)
    elif isinstance(evidence, ProposalEquivocation):
        for header in (evidence.first, evidence.second):
            yield header.proposer, header.signature, header_signed_bytes(network, header)
    elif isinstance(evidence, BatchEquivocation):
        for batch in (evidence.first, evidence.second):
            yield batch.author, batch.signature, batch_signed_bytes(network, batch)
    else:
        for given in (evidence.first, evidence.second):
            message = acknowledgement_signed_bytes(network, given.author, given.sequence, given.digest)
            yield given.voter, given.signature, message


def verify(evidence: Evidence, network: bytes, check: Check) -> bool:
    """Whether this proves guilt: the messages clash as their kind says, and both signatures are good."""
    return clashes(evidence) and all(check(*signed) for signed in _signed(evidence, network))


def evidence_among(votes: Iterable[Vote]) -> Iterator[VoteEquivocation | Amnesia]:
    """Yield every proof of guilt among these votes, once a pair. Quadratic in the votes of one."""
    places: dict[tuple[bytes, int], dict[tuple[VoteKind, bytes], Vote]] = {}
    for vote in votes:
        # Votes of one content differ at most in signature and prove the same.
        places.setdefault((vote.voter, vote.height), {})[vote.kind, vote_content(vote)] = vote
    for of_one in places.values():
        for first, second in combinations(of_one.values(), 2):
            found = evidence_of_votes(first, second)
            if found is not None:
                yield found


def conflicting_tips(first: TipCertificate, second: TipCertificate) -> list[AcknowledgementEquivocation]:
    """Return what two certificates of one (author, sequence) prove: a third of the power acknowledged both
    digests."""
    if (first.author, first.sequence) != (second.author, second.sequence) or first.digest == second.digest:
        return []
    given, other = dict(_acknowledgements(first)), dict(_acknowledgements(second))
    return [AcknowledgementEquivocation(given[voter], other[voter]) for voter in given if voter in other]


def _acknowledgements(certificate: TipCertificate) -> Iterator[tuple[bytes, Acknowledgement]]:
    author, sequence, digest = certificate.author, certificate.sequence, certificate.digest
    for voter, signature in certificate.votes:
        yield voter, Acknowledgement(author, sequence, digest, voter, signature)


def conflicting_certificates(
    first: Certificate, second: Certificate, polkas: Iterable[Certificate] = ()
) -> dict[bytes, VoteEquivocation | Amnesia]:
    """Return whom two decisions at one height convict, each with a proof; empty where they do not conflict.

    `polkas` are the certificates of prevotes that a node kept of this height. Two decisions in one round need
    none. Of different rounds, the amnesia lies in the polkas after the earlier one: who precommitted there
    then prevoted for another value without a polka in between. At least `guilty_on_a_fork(total)` power
    is convicted while less than a quorum is faulty.
    """
    if first.height != second.height or first.value == second.value:
        return {}
    convicted: dict[bytes, VoteEquivocation | Amnesia] = {}
    known = [vote for certificate in (first, second, *polkas) for vote in votes_of(certificate)]
    for found in evidence_among(vote for vote in known if vote.height == first.height):
        convicted.setdefault(guilty(found), found)
    return convicted
