"""Keys at rest: one JSON file each, the secret encrypted, the public half readable without the passphrase.

scrypt stretches the passphrase, ChaCha20-Poly1305 (RFC 8439) encrypts the 32-byte seed and vouches for kind,
name and public key beside it, so that they can't be exchanged unnoticed. Files and folder are their owner's
only (private_files.py).
"""

import base64
import binascii
import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import msgspec

from prsm_node.errors import OperatorError
from prsm_node.identity import private_files
from prsm_node.identity.ed25519 import SEED_BYTES, SigningKey
from prsm_node.identity.passphrases import Passphrase, PassphraseError, Scrypt
from prsm_node.unreadable import UNREADABLE

VERSION: Final = 1
FILE_BYTES_MAX: Final = 4_096  # a file has about 600 bytes
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
EXPORT_PREFIX: Final = "prsm-secret-1-"


class KeystoreError(OperatorError):
    """A key file that can't be read; the message names the file."""


class KeyKind(StrEnum):
    """What a key is for; no key serves two purposes."""

    NODE = "node"
    VALIDATOR = "validator"
    WALLET = "wallet"


class StoredKey(msgspec.Struct, frozen=True):
    """The public half of a key file."""

    path: Path
    kind: KeyKind
    name: str
    public: bytes


Sealed = Annotated[bytes, msgspec.Meta(min_length=SEED_BYTES + TAG_BYTES, max_length=SEED_BYTES + TAG_BYTES)]


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key file; bytes are base64 in it, the public key is hexadecimal."""

    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
    kind: KeyKind
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    public: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    scrypt: Scrypt
    nonce: Annotated[bytes, msgspec.Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
    ciphertext: Sealed

    def vouched(self) -> bytes:
        """Return what the encryption vouches for besides the secret."""
        return msgspec.json.encode([self.version, self.kind, self.name, self.public])


def create(
    path: Path,
    kind: KeyKind,
    name: str,
    key: SigningKey,
    passphrase: Passphrase,
    scrypt: Scrypt | None = None,
) -> StoredKey:
    """Encrypt `key` into a new file; it is durable when this returns.

    Files made together may share `scrypt`, so that the passphrase is stretched once. Raise PrivateFileError
    if the file exists.
    """
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    parameters = scrypt or Scrypt.fresh()
    nonce = secrets.token_bytes(NONCE_BYTES)
    draft = KeyFile(VERSION, kind, name, key.public.hex(), parameters, nonce, bytes(SEED_BYTES + TAG_BYTES))
    cipher = ChaCha20Poly1305(passphrase.key(parameters))
    file = msgspec.structs.replace(draft, ciphertext=cipher.encrypt(nonce, key.seed(), draft.vouched()))
    private_files.make_folder(path.parent)
    private_files.write_new(path, msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n")
    return StoredKey(path, kind, name, key.public)


def describe(path: Path) -> StoredKey:
    """Return the public half; raise KeystoreError or PrivateFileError. It is vouched for only by `unlock`."""
    file = _read(path)
    return StoredKey(path, file.kind, file.name, bytes.fromhex(file.public))


def unlock(path: Path, kind: KeyKind, passphrase: Passphrase) -> SigningKey:
    """Return the key; raise PassphraseError if the passphrase is wrong, KeystoreError, PrivateFileError."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    file = _read(path)
    if file.kind is not kind:
        raise KeystoreError(
            f"{path} holds a {file.kind} key where a {kind} key is wanted; put the right file there"
        )
    cipher = ChaCha20Poly1305(passphrase.key(file.scrypt))
    try:
        seed = cipher.decrypt(file.nonce, file.ciphertext, file.vouched())
    except InvalidTag:
        raise PassphraseError(
            f"the passphrase does not open {path}, or the file was changed; give the one it was made with, "
            "or put the file back from a backup"
        ) from None
    key = SigningKey.from_seed(seed)
    if key.public.hex() != file.public:
        raise KeystoreError(
            f"{path} names a public key that is not the one of its secret; put it back from a backup"
        )
    return key


def _read(path: Path) -> KeyFile:
    data = private_files.read(path, FILE_BYTES_MAX)
    try:
        file = msgspec.json.decode(data, type=KeyFile)
    except UNREADABLE as error:
        raise KeystoreError(f"{path} is no key file: {error}; put it back from a backup") from None
    if not file.scrypt.affordable():
        raise KeystoreError(
            f"{path} asks scrypt for N={file.scrypt.n}, r={file.scrypt.r}, which is not allowed"
        )
    return file


def export_text(key: SigningKey) -> str:
    """Return the secret as one line, for a wallet's owner to keep elsewhere."""
    return EXPORT_PREFIX + base64.urlsafe_b64encode(key.seed()).decode().rstrip("=")


def parse_export(text: str) -> SigningKey:
    """Return the key of an exported line; raise KeystoreError, without repeating the text."""
    encoded = text.strip().removeprefix(EXPORT_PREFIX)
    try:
        seed = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        seed = b""
    if not text.strip().startswith(EXPORT_PREFIX) or len(seed) != SEED_BYTES:
        raise KeystoreError(f"this is no exported key; one begins with {EXPORT_PREFIX}")
    return SigningKey.from_seed(seed)
