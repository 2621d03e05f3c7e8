"""What a proposer signs of a proposal (arXiv:1807.04938, line 19): its place and the value, not the block.

Evidence holds these, so that it is small and no block is ever inside another.
"""

import msgspec

from consensus.bounds import Digest, Height, Round, RoundOrNone, Signature, ValidatorKey
from consensus.signing import SignedKind, signed_bytes


class ProposalHeader(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    height: Height
    round: Round
    valid_round: RoundOrNone
    value: Digest
    """The digest of the block proposed."""
    proposer: ValidatorKey
    signature: Signature = b""


def header_signed_bytes(network: bytes, header: ProposalHeader) -> bytes:
    content = (header.height, header.round, header.valid_round, header.value)
    return signed_bytes(network, SignedKind.PROPOSAL, msgspec.msgpack.encode(content))
