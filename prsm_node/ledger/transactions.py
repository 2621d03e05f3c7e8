"""Transactions: typed, bounded, signed with domain separation; raw bytes are kept from arrival to disk.

A transaction is one msgpack array whose last element is the signature, so that what is signed is a prefix of
the raw bytes. The encoding is canonical where position matters: the sender lies at a fixed offset, so that a
worker can check signatures without decoding. Amounts are integers of base units, 10^-9 FTNS each.
"""

from enum import IntEnum
from hashlib import sha256
from typing import Annotated

import msgspec

from consensus.signing import SignedKind, signed_prefix

BASE_UNITS_PER_FTNS = 10**9
SUPPLY_CAP = 10**9 * BASE_UNITS_PER_FTNS  # 10^18 < 2^63: every sum below fits 64 bits
OPERATIONS_MAX = 256
MEMO_BYTES_MAX = 256
TRANSACTION_BYTES_MAX = 16_384  # 256 operations of 46 bytes, a memo and the rest: 12.3 KB

Address = Annotated[bytes, msgspec.Meta(min_length=33, max_length=33)]
"""Key type (1 byte) and, for Ed25519, the public key."""
Amount = Annotated[int, msgspec.Meta(ge=0, le=SUPPLY_CAP)]
Nonce = Annotated[int, msgspec.Meta(ge=0, le=2**62)]

SIGNATURE_TAIL = 66  # c4 40 and 64 bytes
# 97: array of seven; 01: version 1; c4 21: 33 bytes; 01: Ed25519.
ED25519_HEAD = b"\x97\x01\xc4\x21\x01"


class KeyType(IntEnum):
    ED25519 = 1


class Transfer(msgspec.Struct, frozen=True, array_like=True, tag=1, forbid_unknown_fields=True, gc=False):
    """Move `amount` base units to `to`, whose account is made if it has none."""

    to: Address
    amount: Annotated[int, msgspec.Meta(ge=1, le=SUPPLY_CAP)]


class Transaction(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Operations of one sender that happen all or not at all, in the order of the sender's nonces."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    sender: Address
    nonce: Nonce
    """The sender's count of executed transactions so far."""
    fee: Amount
    operations: Annotated[tuple[Transfer, ...], msgspec.Meta(min_length=1, max_length=OPERATIONS_MAX)]
    memo: Annotated[bytes, msgspec.Meta(max_length=MEMO_BYTES_MAX)]
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class MalformedTransaction(ValueError):
    """Bytes that are no transaction; the message names the field."""


_decoder = msgspec.msgpack.Decoder(Transaction)
_encoder = msgspec.msgpack.Encoder()


def decode_transaction(raw: bytes) -> Transaction:
    """Raise MalformedTransaction. The signature is not checked here."""
    if len(raw) > TRANSACTION_BYTES_MAX:
        raise MalformedTransaction(
            f"transaction is {len(raw)} bytes; at most {TRANSACTION_BYTES_MAX} are allowed"
        )
    if not raw.startswith(ED25519_HEAD) or raw[-SIGNATURE_TAIL : -SIGNATURE_TAIL + 2] != b"\xc4\x40":
        raise MalformedTransaction(
            "transaction does not begin with an Ed25519 sender and end with a signature"
        )
    try:
        return _decoder.decode(raw)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise MalformedTransaction(f"transaction: {error}") from None


def transaction_hash(raw: bytes) -> bytes:
    return sha256(raw).digest()


def unsigned_bytes(
    sender: bytes, nonce: int, fee: int, operations: tuple[Transfer, ...], memo: bytes = b""
) -> bytes:
    """Return the raw bytes of a transaction up to its signature."""
    draft = Transaction(1, sender, nonce, fee, operations, memo, bytes(64))
    return _encoder.encode(draft)[:-SIGNATURE_TAIL]


def signing_bytes(network: bytes, unsigned: bytes) -> bytes:
    """Return what the sender signs."""
    return signed_prefix(network, SignedKind.TRANSACTION) + unsigned


def with_signature(unsigned: bytes, signature: bytes) -> bytes:
    """Return the raw transaction."""
    assert len(signature) == 64, f"an Ed25519 signature is 64 bytes, not {len(signature)}"
    return unsigned + b"\xc4\x40" + signature
