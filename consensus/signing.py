"""What is signed: (kind, network, content), so that no signature means anything elsewhere.

PROTOCOL: "Everything signed is signed over (genesis hash, kind, content) and stands alone." The network id is
the genesis hash. The prefix has a fixed length, so that two different triples never give the same bytes.
"""

from enum import IntEnum


class SignedKind(IntEnum):
    """One number for each kind of signed content; a number is never used again for another."""

    FRAME = 1
    TRANSACTION = 2
    BATCH = 3
    ACKNOWLEDGEMENT = 4
    PROPOSAL = 5
    PREVOTE = 6
    PRECOMMIT = 7
    SESSION = 8


def signed_prefix(network: bytes, kind: SignedKind) -> bytes:
    """Return the 38 bytes that precede `content`; what signs much of one kind keeps them."""
    assert len(network) == 32, f"a network id is 32 bytes, not {len(network)}"
    return b"PRSM\x01" + bytes((kind,)) + network


def signed_bytes(network: bytes, kind: SignedKind, content: bytes) -> bytes:
    """Return what a signature of `content` is made over."""
    return signed_prefix(network, kind) + content
