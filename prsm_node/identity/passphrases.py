"""Passphrases: where they come from, and the keys that scrypt (RFC 7914) stretches them to.

Stretching costs 32 MiB and about 0.1 s, so a Passphrase remembers the keys it gave: files made together may
share a salt, and a daemon stretches once for all of its keys.
"""

import secrets
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec

from prsm_node.errors import OperatorError
from prsm_node.identity import private_files

ENVIRONMENT_VARIABLE: Final = "PRSM_PASSPHRASE"
CHARACTERS_MIN: Final = 8
BYTES_MAX: Final = 1_024
SALT_BYTES: Final = 16
KEY_BYTES: Final = 32
# A file that someone hands us may not make us spend more than 256 MiB (128 x N x r) and some seconds.
MEMORY_MAX: Final = 2**28
REMEMBERED_MAX: Final = 64


class PassphraseError(OperatorError):
    """A passphrase is missing, too short or wrong; the message says what to do."""


class Scrypt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of RFC 7914; the defaults take 32 MiB."""

    salt: Annotated[bytes, msgspec.Meta(min_length=SALT_BYTES, max_length=64)]
    n: Annotated[int, msgspec.Meta(ge=2**10, le=2**20)] = 2**15
    r: Annotated[int, msgspec.Meta(ge=1, le=32)] = 8
    p: Annotated[int, msgspec.Meta(ge=1, le=4)] = 1

    @classmethod
    def fresh(cls, entropy: Callable[[int], bytes] = secrets.token_bytes) -> "Scrypt":
        """Return the default parameters with a salt of their own."""
        return cls(salt=entropy(SALT_BYTES))

    def affordable(self) -> bool:
        """Whether N is a power of two, as scrypt wants it, and the memory within MEMORY_MAX."""
        return self.n & (self.n - 1) == 0 and 128 * self.n * self.r <= MEMORY_MAX


class Passphrase:
    """A passphrase whose text can't be read back; it says nothing about itself."""

    __slots__ = ("_bytes", "_keys")

    def __init__(self, text: str) -> None:
        # NFKC: an accent typed on another keyboard is the same passphrase.
        self._bytes = unicodedata.normalize("NFKC", text).encode()
        self._keys: dict[Scrypt, bytes] = {}

    def key(self, parameters: Scrypt) -> bytes:
        """Return the 32 bytes that scrypt makes of this passphrase; remembered, at most REMEMBERED_MAX."""
        assert parameters.affordable(), f"{parameters} were to be checked by who read them"
        if parameters not in self._keys:
            from cryptography.hazmat.primitives.kdf.scrypt import Scrypt as Stretch

            if len(self._keys) == REMEMBERED_MAX:
                self._keys.clear()
            stretch = Stretch(parameters.salt, KEY_BYTES, parameters.n, parameters.r, parameters.p)
            self._keys[parameters] = stretch.derive(self._bytes)
        return self._keys[parameters]

    def __repr__(self) -> str:
        return "Passphrase(...)"


def chosen(text: str) -> Passphrase:
    """Return a new passphrase; raise PassphraseError if it is too short or too long."""
    if len(text) < CHARACTERS_MIN:
        raise PassphraseError(
            f"the passphrase has {len(text)} characters; it takes at least {CHARACTERS_MIN}"
        )
    if len(text.encode()) > BYTES_MAX:
        raise PassphraseError(f"the passphrase is longer than {BYTES_MAX} bytes; choose a shorter one")
    return Passphrase(text)


def from_file(path: Path) -> Passphrase:
    """Return the first line of a private file; raise PrivateFileError or PassphraseError."""
    try:
        lines = private_files.read(path, BYTES_MAX).decode().splitlines()
    except UnicodeDecodeError:
        raise PassphraseError(f"the passphrase in {path} is not UTF-8 text; write it anew") from None
    if not lines or not lines[0]:
        raise PassphraseError(f"{path} holds no passphrase; write one into its first line")
    return chosen(lines[0])


def found(
    environment: Mapping[str, str], file: Path | None, prompt: Callable[[], str] | None = None
) -> Passphrase:
    """Return the passphrase of the environment, else of the configured file, else what `prompt` asks for.

    Raise PassphraseError where there is none and nobody to ask.
    """
    if text := environment.get(ENVIRONMENT_VARIABLE):
        return chosen(text)
    if file is not None:
        return from_file(file)
    if prompt is not None:
        return chosen(prompt())
    raise PassphraseError(
        f"the keys need a passphrase; set {ENVIRONMENT_VARIABLE}, or keystore.passphrase_file in config.toml"
    )
