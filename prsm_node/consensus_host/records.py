"""What the journal's records hold. Kinds are never used again for another thing.

A guard record holds everything a validator must remember, and one of signers all that others were seen to
sign: of both the last one wins; the others are kept until
what they hold is part of the state in LMDB.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import TypeVar

import msgspec

from consensus.blocks import Block, Proposal
from consensus.certificates import Certificate
from consensus.dissemination.batches import BatchHeader
from consensus.evidence import Evidence
from consensus.guard import Guard
from consensus.votes import Vote
from prsm_node.storage.errors import StorageError
from prsm_node.unreadable import UNREADABLE


class RecordKind(IntEnum):
    GUARD = 1
    PROPOSAL = 2
    BATCH = 3
    DECISION = 4
    SIGNERS = 5


EVIDENCE = b"evidence"
"""The key under which the state keeps the proofs that no block has committed."""


class KeptBatch(msgspec.Struct, frozen=True, array_like=True):
    """A batch with the acknowledgement that this node gave for it; empty where it gave none."""

    header: BatchHeader
    acknowledgement: bytes
    body: bytes


class KeptDecision(msgspec.Struct, frozen=True, array_like=True):
    block: Block
    certificate: Certificate


Kept = TypeVar("Kept")

_encode = msgspec.msgpack.Encoder().encode
_guard = msgspec.msgpack.Decoder(Guard)
_proposal = msgspec.msgpack.Decoder(Proposal)
_batch = msgspec.msgpack.Decoder(KeptBatch)
_evidence = msgspec.msgpack.Decoder(tuple[Evidence, ...])
_decision = msgspec.msgpack.Decoder(KeptDecision)
_signers = msgspec.msgpack.Decoder(tuple[Vote, ...])


def _read(decoder: msgspec.msgpack.Decoder[Kept], payload: bytes) -> Kept:
    """Raise StorageError: the journal's check sums hold, so it is no damage that can't be read."""
    try:
        return decoder.decode(payload)
    except UNREADABLE as error:
        raise StorageError(
            f"the journal was written by another version of this program ({error}); start it with that one, "
            f"or remove journal and state and sync anew with another validator key"
        ) from None


def encode_evidence(pieces: Sequence[Evidence]) -> bytes:
    """Encode what is kept beside the state until a block commits it."""
    return _encode(pieces)


def decode_evidence(kept: bytes) -> tuple[Evidence, ...]:
    return _evidence.decode(kept)


def encode_record(record: Guard | Proposal | KeptBatch | KeptDecision) -> bytes:
    return _encode(record)


def encode_signers(votes: tuple[Vote, ...]) -> bytes:
    return _encode(votes)


def decode_signers(payload: bytes) -> tuple[Vote, ...]:
    return _read(_signers, payload)


def decode_guard(payload: bytes) -> Guard:
    return _read(_guard, payload)


def decode_proposal(payload: bytes) -> Proposal:
    return _read(_proposal, payload)


def decode_batch(payload: bytes) -> KeptBatch:
    return _read(_batch, payload)


def decode_decision(payload: bytes) -> KeptDecision:
    return _read(_decision, payload)


def batch_body(payload: bytes) -> bytes:
    """Return the body inside a BATCH record: what storage reads back for look-ups."""
    return decode_batch(payload).body
