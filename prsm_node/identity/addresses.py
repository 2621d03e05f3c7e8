"""The texts for accounts and validators: `prsm1...` for an address, `prsmv1...` for a validator's key.

An address is a key type (1 byte) and a key (32), as the ledger has it; the text adds a prefix and a checksum
(bech32m.py).
"""

from typing import Final

from prsm_node.identity import bech32m
from prsm_node.identity.bech32m import MalformedText

ACCOUNT_PREFIX: Final = "prsm"
VALIDATOR_PREFIX: Final = "prsmv"
ADDRESS_BYTES: Final = 33
VALIDATOR_KEY_BYTES: Final = 32
ED25519: Final = 1
"""The key type of Ed25519; the ledger's KeyType.ED25519 is the same number (a test holds them together)."""


def address_of(public_key: bytes) -> bytes:
    """Return the 33-byte address of an Ed25519 public key."""
    assert len(public_key) == VALIDATOR_KEY_BYTES, f"an Ed25519 public key is 32 bytes, not {len(public_key)}"
    return bytes((ED25519,)) + public_key


def account_text(address: bytes) -> str:
    """Return `prsm1...` for the 33 bytes of an address."""
    assert len(address) == ADDRESS_BYTES, f"an address is {ADDRESS_BYTES} bytes, not {len(address)}"
    return bech32m.encode(ACCOUNT_PREFIX, address)


def parse_account(text: str) -> bytes:
    """Return the 33 bytes of `prsm1...`; raise MalformedText with a sentence for the operator."""
    if text.lower().startswith(VALIDATOR_PREFIX + "1"):
        raise MalformedText(f"{text[:90]!a} is a validator; an account begins with {ACCOUNT_PREFIX}1")
    address = bech32m.decode(ACCOUNT_PREFIX, text, ADDRESS_BYTES, "the address")
    if address[0] != ED25519:
        raise MalformedText(f"the address {text} has key type {address[0]}; only {ED25519} is known")
    return address


def validator_text(key: bytes) -> str:
    """Return `prsmv1...` for a validator's 32-byte public key."""
    assert len(key) == VALIDATOR_KEY_BYTES, f"a validator's key is 32 bytes, not {len(key)}"
    return bech32m.encode(VALIDATOR_PREFIX, key)


def parse_validator(text: str) -> bytes:
    """Return the 32-byte key of `prsmv1...`; raise MalformedText with a sentence for the operator."""
    return bech32m.decode(VALIDATOR_PREFIX, text, VALIDATOR_KEY_BYTES, "the validator's key")
