"""Batches: one author's transactions, chained by parent digest into a lane (PROTOCOL, Lanes 1).

The protocol sees headers; a body is the msgpack list of raw transactions, kept by the mempool and the
journal.
"""

from hashlib import sha256
from typing import TYPE_CHECKING, NewType

import msgspec

from consensus.bounds import Digest, Sequence, Signature, ValidatorKey
from consensus.signing import SignedKind, signed_bytes

EMPTY_LANE = bytes(32)
"""The parent of a lane's first batch."""


class BatchHeader(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    author: ValidatorKey
    sequence: Sequence
    parent: Digest
    body: Digest
    """SHA-256 of the body's bytes."""
    signature: Signature = b""


if TYPE_CHECKING:  # mypy knows no NewType of a Struct; at run time it is one, and costs nothing

    class CheckedBatch(BatchHeader, frozen=True):
        """The author's signature is good, the body is at hand and is the one named, each transaction's
        signature is good."""

        def __init__(self, of: BatchHeader) -> None: ...

else:
    CheckedBatch = NewType("CheckedBatch", BatchHeader)


def batch_content(header: BatchHeader) -> bytes:
    return msgspec.msgpack.encode((header.author, header.sequence, header.parent, header.body))


def batch_digest(header: BatchHeader) -> bytes:
    """Return what names a batch in acknowledgements and tips: it fixes the whole lane up to here."""
    return sha256(b"batch" + batch_content(header)).digest()


def batch_signed_bytes(network: bytes, header: BatchHeader) -> bytes:
    return signed_bytes(network, SignedKind.BATCH, batch_content(header))
