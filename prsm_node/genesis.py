"""The genesis: what a network starts from and is named by. Its hash is the network id.

Two forms: the canonical msgpack encoding, which is hashed and goes over the wire, and a JSON document for
people, whose amounts are decimal strings of base units and whose keys are the texts of identity/addresses.py.
A fault in either is a GenesisError of one sentence that names the field.
"""

from collections.abc import Callable
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final

import msgspec

from consensus.bounds import VALIDATORS_MAX, TimeMs, ValidatorKey
from prsm_node import bounded_file
from prsm_node.errors import OperatorError
from prsm_node.identity.addresses import account_text, parse_account, parse_validator, validator_text
from prsm_node.identity.bech32m import MalformedText
from prsm_node.identity.ed25519 import PUBLIC_KEY_BYTES, of_small_order
from prsm_node.ledger.parameters import Parameters
from prsm_node.ledger.transactions import SUPPLY_CAP, Address, Amount, KeyType
from prsm_node.unreadable import UNREADABLE

ACCOUNTS_MAX: Final = 2**20
# An account's line in the document is about 130 bytes, in the encoding 45.
DOCUMENT_BYTES_MAX: Final = 192 * 2**20
POWER_TOTAL_MAX: Final = 2**53
"""So that three times any power, and any sum of them, is far from 64 bits."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Power = Annotated[int, msgspec.Meta(ge=1, le=POWER_TOTAL_MAX)]


class GenesisError(OperatorError):
    """The genesis is wrong, by a peer or by hand; the sentence names the field."""


class GenesisValidator(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    key: ValidatorKey
    power: Power
    name: Name


class GenesisAccount(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    address: Address
    balance: Amount


class Genesis(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, dict=True):
    """Make one with `genesis()`, which sorts and checks; accounts get their numbers in this order."""

    network: Name
    time_ms: TimeMs
    validators: Annotated[tuple[GenesisValidator, ...], msgspec.Meta(min_length=1, max_length=VALIDATORS_MAX)]
    """In order of key."""
    accounts: Annotated[tuple[GenesisAccount, ...], msgspec.Meta(max_length=ACCOUNTS_MAX)]
    """In order of address."""
    parameters: Parameters

    @cached_property
    def encoded(self) -> bytes:
        """The canonical encoding: fields in order, parameters by name in order of the declaration."""
        return msgspec.msgpack.encode(self)

    @cached_property
    def hash(self) -> bytes:
        """The network id."""
        return sha256(b"genesis" + self.encoded).digest()

    @cached_property
    def supply(self) -> int:
        """Base units that exist before the first block."""
        return sum(account.balance for account in self.accounts)


def genesis(
    network: str,
    time_ms: int,
    validators: list[tuple[bytes, int, str]],
    accounts: list[tuple[bytes, int]],
    parameters: Parameters | None = None,
) -> Genesis:
    """Put together and check a genesis: validators (key, power, name), accounts (address, balance).

    Raise GenesisError.
    """
    made = Genesis(
        network,
        time_ms,
        tuple(GenesisValidator(*validator) for validator in sorted(validators)),
        tuple(GenesisAccount(*account) for account in sorted(accounts)),
        parameters or Parameters(),
    )
    return decode(made.encoded)


def decode(data: bytes) -> Genesis:
    """Return the genesis of this canonical encoding; raise GenesisError."""
    if len(data) > DOCUMENT_BYTES_MAX:
        raise GenesisError(f"the genesis is {len(data)} bytes; at most {DOCUMENT_BYTES_MAX} are allowed")
    try:
        made = msgspec.msgpack.decode(data, type=Genesis)
    except UNREADABLE as error:
        raise GenesisError(f"the genesis cannot be read: {error}") from None
    _check(made)
    if made.encoded != data:
        raise GenesisError("the genesis is not in its canonical encoding; take it from another source")
    return made


class _ValidatorEntry(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    power: Power
    name: Name


class _AccountEntry(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    address: str
    balance: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,19}$")]


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    network: Name
    time_ms: TimeMs
    validators: Annotated[list[_ValidatorEntry], msgspec.Meta(min_length=1, max_length=VALIDATORS_MAX)]
    accounts: Annotated[list[_AccountEntry], msgspec.Meta(max_length=ACCOUNTS_MAX)]
    parameters: Parameters = Parameters()


def to_document(made: Genesis) -> bytes:
    """Return the JSON document, indented, ending in a line feed."""
    document = _Document(
        made.network,
        made.time_ms,
        [_ValidatorEntry(validator_text(v.key), v.power, v.name) for v in made.validators],
        [_AccountEntry(account_text(a.address), str(a.balance)) for a in made.accounts],
        made.parameters,
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def from_document(text: bytes) -> Genesis:
    """Return the genesis of this JSON document; raise GenesisError."""
    if len(text) > DOCUMENT_BYTES_MAX:
        raise GenesisError(f"the genesis is {len(text)} bytes; at most {DOCUMENT_BYTES_MAX} are allowed")
    try:
        document = msgspec.json.decode(text, type=_Document)
    except UNREADABLE as error:
        raise GenesisError(f"the genesis cannot be read: {error}") from None
    validators = [
        (_parsed(parse_validator, v.key, f"validators[{i}].key"), v.power, v.name)
        for i, v in enumerate(document.validators)
    ]
    accounts = [
        (_parsed(parse_account, a.address, f"accounts[{i}].address"), int(a.balance))
        for i, a in enumerate(document.accounts)
    ]
    return genesis(document.network, document.time_ms, validators, accounts, document.parameters)


def save(made: Genesis, path: Path) -> None:
    """Write the document; raise OSError."""
    path.write_bytes(to_document(made))


def load(path: Path) -> Genesis:
    """Read the document; raise GenesisError, which names the file."""
    text = bounded_file.read(path, DOCUMENT_BYTES_MAX, "genesis", GenesisError)
    try:
        return from_document(text)
    except GenesisError as error:
        raise GenesisError(f"{path}: {error}") from None


def _parsed(parse: Callable[[str], bytes], text: str, field: str) -> bytes:
    try:
        parsed = parse(text)
    except MalformedText as error:
        raise GenesisError(f"{field}: {error}") from None
    _refuse_small_order(parsed, field)
    return parsed


def _refuse_small_order(key_or_address: bytes, field: str) -> None:
    """A validator that anyone can sign for, or money that anyone can spend: no key was made so."""
    key = key_or_address[-PUBLIC_KEY_BYTES:]
    if of_small_order(key):
        raise GenesisError(
            f"{field}: {key.hex()} is an Ed25519 point of small order, for which anyone can sign; put a key "
            "there that its owner made"
        )


def _check(made: Genesis) -> None:
    keys = [validator.key for validator in made.validators]
    if any(a >= b for a, b in pairwise(keys)):
        raise GenesisError("validators: a key stands twice, or they are not in order of key")
    power = sum(validator.power for validator in made.validators)
    if power > POWER_TOTAL_MAX:
        raise GenesisError(f"validators: their powers sum to {power}; at most {POWER_TOTAL_MAX} is allowed")
    for i, key in enumerate(keys):
        _refuse_small_order(key, f"validators[{i}].key")
    addresses = [account.address for account in made.accounts]
    if any(a >= b for a, b in pairwise(addresses)):
        raise GenesisError("accounts: an address stands twice, or they are not in order of address")
    for i, address in enumerate(addresses):
        if address[0] != KeyType.ED25519:
            raise GenesisError(f"accounts[{i}].address: key type {address[0]} is unknown; only 1 is")
        _refuse_small_order(address, f"accounts[{i}].address")
    if made.supply > SUPPLY_CAP:
        raise GenesisError(f"accounts: balances sum to {made.supply} base units; the cap is {SUPPLY_CAP}")
