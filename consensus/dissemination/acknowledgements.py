"""Acknowledgements: "I hold this batch durably and will give no other one this (author, sequence)" (Lanes 2)."""

from typing import Annotated, NewType

import msgspec

from consensus.bounds import VALIDATORS_MAX, Digest, Sequence, Signature, ValidatorKey
from consensus.signing import SignedKind, signed_bytes


class Acknowledgement(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    author: ValidatorKey
    sequence: Sequence
    digest: Digest
    voter: ValidatorKey
    signature: Signature = b""


CheckedAcknowledgement = NewType("CheckedAcknowledgement", Acknowledgement)


class TipCertificate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A quorum of acknowledgements of one batch. It weighs by the set of the height that lists it (Lanes 3)."""

    author: ValidatorKey
    sequence: Sequence
    digest: Digest
    votes: Annotated[tuple[tuple[ValidatorKey, Signature], ...], msgspec.Meta(max_length=VALIDATORS_MAX)]


CheckedTipCertificate = NewType("CheckedTipCertificate", TipCertificate)
"""Distinct voters, every signature good, and a quorum of the current set."""


def acknowledgement_signed_bytes(network: bytes, author: bytes, sequence: int, digest: bytes) -> bytes:
    content = msgspec.msgpack.encode((author, sequence, digest))
    return signed_bytes(network, SignedKind.ACKNOWLEDGEMENT, content)
