"""Acknowledgements: "I hold this batch durably and will give no other one this (author, sequence)" (Lanes
2)."""

from typing import TYPE_CHECKING, Annotated, NewType

import msgspec

from consensus.bounds import VALIDATORS_MAX, Digest, Sequence, Signature, ValidatorKey
from consensus.quorum import is_quorum
from consensus.signing import SignedKind, signed_bytes
from consensus.validators import ValidatorSet


class Acknowledgement(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    author: ValidatorKey
    sequence: Sequence
    digest: Digest
    voter: ValidatorKey
    signature: Signature = b""


if TYPE_CHECKING:  # mypy knows no NewType of a Struct; at run time it is one, and costs nothing

    class CheckedAcknowledgement(Acknowledgement, frozen=True):
        def __init__(self, of: Acknowledgement) -> None: ...

else:
    CheckedAcknowledgement = NewType("CheckedAcknowledgement", Acknowledgement)


class TipCertificate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A quorum of acknowledgements of one batch. It weighs by the set of the height that lists it (Lanes
    3)."""

    author: ValidatorKey
    sequence: Sequence
    digest: Digest
    votes: Annotated[tuple[tuple[ValidatorKey, Signature], ...], msgspec.Meta(max_length=VALIDATORS_MAX)]


if TYPE_CHECKING:  # mypy knows no NewType of a Struct; at run time it is one, and costs nothing

    class CheckedTipCertificate(TipCertificate, frozen=True):
        """Distinct voters, every signature good, and a quorum of the current set."""

        def __init__(self, of: TipCertificate) -> None: ...

else:
    CheckedTipCertificate = NewType("CheckedTipCertificate", TipCertificate)


def members_only(certificate: TipCertificate, validators: ValidatorSet) -> TipCertificate | None:
    """Return a certificate without the votes of those outside the set, None where the rest is no quorum: sets
    change while certificates travel."""
    voters = [voter for voter, _ in certificate.votes]
    weight = sum(validators.power(voter) for voter in dict.fromkeys(voters))
    if len(set(voters)) != len(voters) or not is_quorum(weight, validators.total):
        return None
    if all(voter in validators for voter in voters):
        return certificate
    left = tuple((voter, signature) for voter, signature in certificate.votes if voter in validators)
    return TipCertificate(certificate.author, certificate.sequence, certificate.digest, left)


def acknowledgement_signed_bytes(network: bytes, author: bytes, sequence: int, digest: bytes) -> bytes:
    content = msgspec.msgpack.encode((author, sequence, digest))
    return signed_bytes(network, SignedKind.ACKNOWLEDGEMENT, content)
