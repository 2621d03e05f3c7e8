"""libp2p's name for a node: the base58 of an identity multihash of its Ed25519 public key in protobuf.

https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md; said here so that no command imports libp2p.
"""

from typing import Final

from prsm_node.identity import base58

# Multihash identity (00) of 36 (24) bytes: protobuf field 1, key type 1 (08 01), field 2 of 32 bytes (12 20).
_HEAD: Final = bytes.fromhex("002408011220")


def peer_id(public_key: bytes) -> str:
    """Return `12D3KooW...` for a node's 32-byte public key."""
    assert len(public_key) == 32, f"an Ed25519 public key is 32 bytes, not {len(public_key)}"
    return base58.encode(_HEAD + public_key)
