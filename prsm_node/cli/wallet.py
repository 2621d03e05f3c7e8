"""`prsm-node wallet new|list|export|import`: what needs no running node."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from prsm_node.cli.home_options import existing_home
from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_fields, print_json, print_table, say
from prsm_node.cli.passphrase import passphrase_of
from prsm_node.errors import OperatorError
from prsm_node.home import Home
from prsm_node.identity import keystore, private_files, wallets
from prsm_node.identity.addresses import account_text
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.identity.keystore import KeyKind, StoredKey

EXPORT_BYTES_MAX = 256

Name = Annotated[str, typer.Argument(metavar="NAME", help="The wallet's name.")]


def new(name: Name, json: JsonFlag = False) -> None:
    """Make a wallet."""
    home = existing_home()
    _keep(home, name, SigningKey.generate(), json)


def list_wallets(json: bool = False) -> None:
    """The wallets in this home."""
    rows = [_shown(wallet) for wallet in wallets.listed(existing_home())]
    if json:
        print_json({"wallets": rows})
    elif rows:
        print_table(("wallet", "address"), [(row["name"], row["address"]) for row in rows])
    else:
        say("there are no wallets here yet; make one with: prsm-node wallet new NAME")


def export(
    name: Name,
    out: Annotated[Path, typer.Option(metavar="FILE", help="A new file, made with mode 0600.")],
    json: JsonFlag = False,
) -> None:
    """Write a wallet's secret key to a file.

    Whoever reads the file can spend what the wallet holds. It is not encrypted, so that it can be kept on
    paper or under a passphrase of its own.
    """
    home = existing_home()
    path = out.expanduser().absolute()
    if path.exists():
        raise OperatorError(f"{path} exists and is never written over; choose another --out")
    if not path.parent.is_dir():
        raise OperatorError(f"there is no folder {path.parent}; make it, or choose another --out")
    key = wallets.unlocked(home, name, passphrase_of(home))
    private_files.write_new(path, keystore.export_text(key).encode() + b"\n")
    if json:
        print_json({"name": name, "file": str(path)})
    else:
        say(f"wrote the secret key of {name} to {path}; whoever reads it can spend from {name}")


def import_wallet(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An exported key; - is stdin.")],
    json: JsonFlag = False,
) -> None:
    """Make a wallet from an exported key."""
    home = existing_home()
    if str(file) == "-":
        data = sys.stdin.buffer.read(EXPORT_BYTES_MAX)
    else:
        data = private_files.read(file.expanduser(), EXPORT_BYTES_MAX)
    _keep(home, name, keystore.parse_export(data.decode("ascii", "replace")), json)


def _keep(home: Home, name: str, key: SigningKey, json: bool) -> None:
    wallets.refuse_taken(home, name)
    passphrase = passphrase_of(home)
    # A slip of the finger here would lock the wallet for good: one passphrase opens all of a home.
    keystore.unlock(home.node_key, KeyKind.NODE, passphrase)
    wallet = wallets.made(home, name, key, passphrase)
    if json:
        print_json(_shown(wallet))
    else:
        print_fields(_shown(wallet).items())


def _shown(wallet: StoredKey) -> dict[str, str]:
    return {"name": wallet.name, "address": account_text(wallets.address(wallet))}
