"""Prevotes and precommits (arXiv:1807.04938, lines 24-45), with what PROTOCOL adds to them.

A prevote for a value carries `polka_round` (Agreement 5), a precommit for a value `diverged` (Agreement 6).
`Vote` is what was decoded; `CheckedVote` is one whose signature was checked and whose voter is in the set.
"""

from enum import IntEnum
from typing import TYPE_CHECKING, NewType

import msgspec

from consensus.bounds import Digest, Height, Round, RoundOrNone, Signature, ValidatorKey
from consensus.signing import SignedKind, signed_bytes

NIL = None
"""The vote for no value."""


class VoteKind(IntEnum):
    PREVOTE = 1
    PRECOMMIT = 2


SIGNED_KIND = {VoteKind.PREVOTE: SignedKind.PREVOTE, VoteKind.PRECOMMIT: SignedKind.PRECOMMIT}


class Vote(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    kind: VoteKind
    height: Height
    round: Round
    value: Digest | None
    polka_round: RoundOrNone
    """Prevote for a value: the latest earlier round whose polka for it the voter knows; otherwise -1."""
    diverged: Height
    """Precommit for a value: the greatest height at which the voter precommitted another value than this
    chain has there, earlier rounds of this height included; otherwise 0."""
    voter: ValidatorKey
    signature: Signature = b""


if TYPE_CHECKING:  # mypy knows no NewType of a Struct; at run time it is one, and costs nothing

    class CheckedVote(Vote, frozen=True):
        """Made by the signature check and nowhere else."""

        def __init__(self, of: Vote) -> None: ...

else:
    CheckedVote = NewType("CheckedVote", Vote)


def vote_content(vote: Vote) -> bytes:
    """Return the canonical encoding that is signed: all but voter and signature."""
    return msgspec.msgpack.encode((vote.height, vote.round, vote.value, vote.polka_round, vote.diverged))


def vote_signed_bytes(network: bytes, vote: Vote) -> bytes:
    return signed_bytes(network, SIGNED_KIND[vote.kind], vote_content(vote))


def well_formed(vote: Vote) -> bool:
    """Whether the marks stand only where they mean something. The host refuses others before checking."""
    if vote.value is None:
        return vote.polka_round == -1 and vote.diverged == 0
    if vote.kind is VoteKind.PREVOTE:
        return vote.diverged == 0 and vote.polka_round < vote.round
    return vote.polka_round == -1 and vote.diverged <= vote.height
