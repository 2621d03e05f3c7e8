"""Certificates: a quorum of votes of one kind, height, round and value, as one value on the wire.

A polka is a certificate of prevotes, a commit one of precommits. A certificate is in no hash: nodes hold
different ones for one block, and they are never merged across rounds. Each embedded vote stands alone.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, NewType

import msgspec

from consensus.bounds import VALIDATORS_MAX, Digest, Height, Round, Signature, ValidatorKey
from consensus.votes import CheckedVote, Vote, VoteKind


class CertificateVote(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    voter: ValidatorKey
    mark: Annotated[int, msgspec.Meta(ge=-1, le=2**62)]
    """`polka_round` in a polka, `diverged` in a commit."""
    signature: Signature


class Certificate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    kind: VoteKind
    height: Height
    round: Round
    value: Digest
    votes: Annotated[tuple[CertificateVote, ...], msgspec.Meta(max_length=VALIDATORS_MAX)]


if TYPE_CHECKING:  # mypy knows no NewType of a Struct; at run time it is one, and costs nothing

    class CheckedCertificate(Certificate, frozen=True):
        """Distinct voters, every signature good, and a quorum of the set of its height."""

        def __init__(self, of: Certificate) -> None: ...

else:
    CheckedCertificate = NewType("CheckedCertificate", Certificate)


def certificate_of(votes: list[CheckedVote]) -> CheckedCertificate:
    """Bundle checked votes that agree in kind, height, round and value; in order of voter."""
    first = votes[0]
    place = (first.kind, first.height, first.round, first.value)
    assert first.value is not None, "a certificate is for a value"
    assert all((v.kind, v.height, v.round, v.value) == place for v in votes), (
        f"votes of several places: {place}"
    )
    assert len({v.voter for v in votes}) == len(votes), f"a voter twice at {place}"
    prevote = first.kind is VoteKind.PREVOTE
    members = tuple(
        CertificateVote(v.voter, v.polka_round if prevote else v.diverged, v.signature)
        for v in sorted(votes, key=lambda v: v.voter)
    )
    return CheckedCertificate(Certificate(first.kind, first.height, first.round, first.value, members))


def votes_of(certificate: Certificate) -> Iterator[Vote]:
    """Unpack a certificate into the votes it was made of."""
    prevote = certificate.kind is VoteKind.PREVOTE
    for member in certificate.votes:
        yield Vote(
            kind=certificate.kind,
            height=certificate.height,
            round=certificate.round,
            value=certificate.value,
            polka_round=member.mark if prevote else -1,
            diverged=0 if prevote else member.mark,
            voter=member.voter,
            signature=member.signature,
        )
