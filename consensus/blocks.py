"""Blocks and proposals (PROTOCOL, Blocks 1). A block lists lane tips; its digest is the value agreed on."""

from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, NewType

import msgspec

from consensus.bounds import (
    VALIDATORS_MAX,
    Digest,
    Height,
    Round,
    RoundOrNone,
    Sequence,
    Signature,
    TimeMs,
    ValidatorKey,
)
from consensus.certificates import Certificate
from consensus.evidence import Evidence
from consensus.proposal_header import ProposalHeader, header_signed_bytes

EVIDENCE_MAX = 16
"""Pieces that a block commits at most: 16 of 400 bytes leave a block as small as its tips made it."""


class Tip(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A lane is ordered up to here."""

    author: ValidatorKey
    sequence: Sequence
    digest: Digest


class Block(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    height: Height
    parent: Digest
    time_ms: TimeMs
    proposer: ValidatorKey
    tips: Annotated[tuple[Tip, ...], msgspec.Meta(max_length=VALIDATORS_MAX)]
    """Only the lanes that advance, in order of author."""
    evidence: Annotated[tuple[Evidence, ...], msgspec.Meta(max_length=EVIDENCE_MAX)]
    """What this block convicts validators by, one piece each (convictions.py)."""
    state_root: Digest
    """The root of state after height - 2 (of the genesis for heights 1 and 2)."""
    next_validators: Digest
    """The hash of the set of height + 1."""

    @property
    def works(self) -> bool:
        """Whether it orders anything: then blocks follow until its root is named (Blocks 6)."""
        return bool(self.tips or self.evidence)


class Proposal(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Line 19: (height, round, value, valid_round), with the block it names and, from line 16, its polka."""

    round: Round
    valid_round: RoundOrNone
    proposer: ValidatorKey
    block: Block
    polka: Certificate | None = None
    """Of valid_round, where that is not -1 (Agreement 1)."""
    signature: Signature = b""

    @property
    def height(self) -> int:
        return self.block.height


if TYPE_CHECKING:  # mypy knows no NewType of a Struct; at run time it is one, and costs nothing

    class CheckedProposal(Proposal, frozen=True):
        """Signed by the round's proposer; its polka, if it has one, is a checked certificate for its block;
        the signatures in the block's evidence are good."""

        def __init__(self, of: Proposal) -> None: ...

else:
    CheckedProposal = NewType("CheckedProposal", Proposal)


def block_digest(block: Block) -> bytes:
    """Return the value that validators vote for."""
    return sha256(b"block" + msgspec.msgpack.encode(block)).digest()


def proposal_header(proposal: Proposal) -> ProposalHeader:
    """Return what its proposer signed of it; a polka is not signed."""
    return ProposalHeader(
        proposal.height,
        proposal.round,
        proposal.valid_round,
        block_digest(proposal.block),
        proposal.proposer,
        proposal.signature,
    )


def proposal_signed_bytes(network: bytes, proposal: Proposal) -> bytes:
    return header_signed_bytes(network, proposal_header(proposal))
