"""The sizes that every value on the wire is held to, as annotated types that decoding enforces.

A value that breaks one of these never reaches the protocol: msgspec raises ValidationError while decoding.
"""

from typing import Annotated

from msgspec import Meta

# 256 validators sign a certificate of 256 x ~100 bytes = 26 KB, well below a frame of 1 MiB.
VALIDATORS_MAX = 256
# Heights and rounds fit a signed 64-bit integer with room to add to them.
HEIGHT_MAX = 2**62
ROUND_MAX = 2**31

Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""SHA-256 of a canonical encoding."""
ValidatorKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""An Ed25519 public key; it names the validator."""
Signature = Annotated[bytes, Meta(max_length=64)]
"""Ed25519, 64 bytes; empty only in what is not yet signed."""
Height = Annotated[int, Meta(ge=0, le=HEIGHT_MAX)]
"""0 is the genesis, the first block is 1."""
Round = Annotated[int, Meta(ge=0, le=ROUND_MAX)]
RoundOrNone = Annotated[int, Meta(ge=-1, le=ROUND_MAX)]
"""A round, or -1 for none (arXiv:1807.04938 writes it so)."""
Sequence = Annotated[int, Meta(ge=0, le=HEIGHT_MAX)]
"""A batch's place in its lane; the first batch is 1, 0 is the empty lane."""
TimeMs = Annotated[int, Meta(ge=0, le=2**53)]
"""Unix time, milliseconds."""
