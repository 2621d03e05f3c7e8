"""The wallets of a home: named keys in H/wallets, each an account of its own."""

import re
from pathlib import Path
from typing import Final

from prsm_node.errors import OperatorError
from prsm_node.home import Home
from prsm_node.identity import keystore
from prsm_node.identity.addresses import ACCOUNT_PREFIX, VALIDATOR_PREFIX, address_of, parse_account
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.identity.keystore import KeyKind, StoredKey
from prsm_node.identity.passphrases import Passphrase, Scrypt

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


class WalletError(OperatorError):
    """A wallet that is misnamed or missing; the message says which there are."""


def path_of(home: Home, name: str) -> Path:
    """Return where the wallet called `name` lies or would lie; raise WalletError for what can be no name."""
    if _NAME.fullmatch(name) is None:
        raise WalletError(
            f"{name[:80]!a} can't name a wallet; use letters, digits, '.', '_' or '-', at most 64"
        )
    if name.startswith(f"{ACCOUNT_PREFIX}1"):
        raise WalletError(
            f"a wallet's name can't begin with {ACCOUNT_PREFIX}1, as addresses do; choose another"
        )
    return home.wallets / f"{name}.json"


def listed(home: Home) -> list[StoredKey]:
    """Return the wallets by name, dev2 before dev10; raise OSError where the folder can't be read."""
    # glob() would find nothing in a folder that is closed to us.
    paths = (
        [path for path in home.wallets.iterdir() if path.suffix == ".json"] if home.wallets.exists() else []
    )
    return sorted((keystore.describe(path) for path in paths), key=lambda wallet: _in_order(wallet.name))


def stored(home: Home, name: str) -> StoredKey:
    """Return the public half of a wallet; raise WalletError if there is none of this name."""
    path = path_of(home, name)
    if not path.exists():
        raise WalletError(f"there is no wallet {name}; {_there_are(home, name)}")
    return keystore.describe(path)


def address(wallet: StoredKey) -> bytes:
    """Return the 33-byte address of a wallet's account."""
    return address_of(wallet.public)


def unlocked(home: Home, name: str, passphrase: Passphrase) -> SigningKey:
    """Return a wallet's key; raise WalletError, or what keystore.unlock raises."""
    return keystore.unlock(stored(home, name).path, KeyKind.WALLET, passphrase)


def refuse_taken(home: Home, name: str) -> None:
    """Raise WalletError where `name` is taken, before anybody is asked for a passphrase."""
    if path_of(home, name).exists():
        raise WalletError(f"there is a wallet {name} already; choose another name")


def made(
    home: Home, name: str, key: SigningKey, passphrase: Passphrase, scrypt: Scrypt | None = None
) -> StoredKey:
    """Keep `key` as a new wallet; raise WalletError, or PrivateFileError where there is one of this name."""
    return keystore.create(path_of(home, name), KeyKind.WALLET, name, key, passphrase, scrypt)


def account(home: Home, text: str) -> bytes:
    """Return the address that `text` means: `prsm1...`, or the name of a wallet in this home."""
    if text.lower().startswith((f"{ACCOUNT_PREFIX}1", f"{VALIDATOR_PREFIX}1")):
        return parse_account(text)
    if not path_of(home, text).exists():
        raise WalletError(
            f"there is no wallet {text}; {_there_are(home, text)}, or give an address, {ACCOUNT_PREFIX}1..."
        )
    return address(stored(home, text))


def _there_are(home: Home, missing: str) -> str:
    names = [wallet.name for wallet in listed(home)]
    return f"there are {', '.join(names[:10])}" if names else f"make it with: prsm-node wallet new {missing}"


def _in_order(name: str) -> tuple[str, int, str]:
    match = re.fullmatch(r"(.*?)([0-9]{0,9})", name)
    assert match is not None, "the pattern takes every name"
    return match.group(1), int(match.group(2) or -1), name
