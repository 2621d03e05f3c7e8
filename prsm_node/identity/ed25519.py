"""Ed25519 under one acceptance rule for the whole network: ZIP-215 (https://zips.z.cash/zip-0215).

Which odd signatures count as good is consensus-critical: libraries differ on small-order points and on
non-canonical encodings, so every check in this program is `verify`. Signing is plain RFC
8032, on which all agree.

Importing this module loads only the verifier, which keeps the signature worker at 14 MB; `cryptography` is
loaded with the first SigningKey.
"""

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import ed25519_zebra  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SEED_BYTES: Final = 32
PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

_P: Final = 2**255 - 19
SIGN_BIT: Final = 2**255
_Y_OF_ORDER_8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
# The y-coordinates of the points of order 1, 2, 4 and 8 on the curve of RFC 8032, section 5.1, and what of
# them can be written a second time with p added (Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs",
# IACR ePrint 2020/1244, table 1).
SMALL_ORDER_Y: Final = frozenset({1, _P - 1, 0, _Y_OF_ORDER_8, _P - _Y_OF_ORDER_8, _P, _P + 1})


def verify(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` over `message` is good for the 32-byte public `key`, by ZIP-215. Never raises.

    Takes about 40 us and holds the GIL; bulk checks belong in the signature worker.
    """
    if len(key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    return bool(ed25519_zebra.ed_verify(signature, message, key))


def of_small_order(key: bytes) -> bool:
    """Whether `key` encodes one of the eight points whose order divides the cofactor, so that a signature for
    it can be made by anybody (as R the identity and s = 0, under `verify`'s rule).

    No secret has such a key. The sign bit is left out: of the fourteen encodings, six are not canonical.
    """
    return int.from_bytes(key, "little") & SIGN_BIT - 1 in SMALL_ORDER_Y


class SigningKey:
    """A private key. Its repr shows the public half only."""

    __slots__ = ("_private", "public")

    public: Final[bytes]
    """The 32-byte public key."""

    def __init__(self, private: "Ed25519PrivateKey") -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()

    @classmethod
    def from_seed(cls, seed: bytes) -> "SigningKey":
        """Return the key of an RFC 8032 seed of 32 bytes."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        assert len(seed) == SEED_BYTES, f"an Ed25519 seed is {SEED_BYTES} bytes, not {len(seed)}"
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def generate(cls, entropy: Callable[[int], bytes] = secrets.token_bytes) -> "SigningKey":
        """Return a new key; `entropy(n)` gives n unguessable bytes (simulations hand in a seeded one)."""
        return cls.from_seed(entropy(SEED_BYTES))

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature; about 30 us."""
        return self._private.sign(message)

    def seed(self) -> bytes:
        """Return the secret itself, for the keystore and for exports; it goes nowhere else."""
        return self._private.private_bytes_raw()

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a SigningKey is not pickled: a secret does not travel by accident")
