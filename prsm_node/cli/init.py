"""`prsm-node init`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace

from prsm_node import config_file
from prsm_node import genesis as genesis_file
from prsm_node.cli import home_making
from prsm_node.cli.home_options import chosen_home
from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_fields, print_json, say
from prsm_node.cli.passphrase import new_passphrase
from prsm_node.config import Config
from prsm_node.errors import OperatorError
from prsm_node.home import Home
from prsm_node.identity import wallets
from prsm_node.identity.addresses import account_text, validator_text


def init(
    name: Annotated[str | None, typer.Option(help="What others call this node.")] = None,
    port: Annotated[int | None, typer.Option(help="The TCP port to listen on.")] = None,
    bootstrap: Annotated[
        list[str] | None, typer.Option(metavar="MULTIADDR", help="A peer to dial first; can be repeated.")
    ] = None,
    genesis: Annotated[Path | None, typer.Option(metavar="FILE", help="The genesis of the network.")] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A file of mode 0600 with the passphrase for the keys."),
    ] = None,
    dev: Annotated[
        bool, typer.Option("--dev", help="A network of this one node, with a funded wallet dev0.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Make a home: keys and a configuration.

    The keys are encrypted with a passphrase, taken from --passphrase-file, from PRSM_PASSPHRASE, or asked
    for. With --dev one is made up and kept in the home, so that the node starts unattended.
    """
    home = chosen_home()
    home_making.refuse_used(home.path)
    if dev:
        _make_development(home, json, name or port or bootstrap or genesis or passphrase_file)
        return
    flags = {"node.name": name, "network.port": port, "network.bootstrap": bootstrap or None}
    config = config_file.load(None, flags)
    if passphrase_file is not None:
        path = str(passphrase_file.expanduser().absolute())
        config = replace(config, keystore=replace(config.keystore, passphrase_file=path))
    known = genesis_file.load(genesis) if genesis is not None else None
    passphrase = new_passphrase(passphrase_file)
    with home_making.new_home(home.path) as draft:
        keys = home_making.fill(draft, config, passphrase, known)
    _show(home, config, keys, known.hash if known is not None else None, None, json)
    if not json:
        say(_next_step(home, known is not None))


def _make_development(home: Home, json: bool, other: object) -> None:
    if other:
        raise OperatorError("--dev chooses everything itself; leave the other options away")
    made = home_making.development_home(home.path)
    address = account_text(wallets.address(made.wallets[0]))
    _show(home, made.configs[0], made.keys[0], made.genesis.hash, address, json)
    if not json:
        say(_next_step(home, True))


def _next_step(home: Home, ready: bool) -> str:
    command = f"prsm-node --home {shlex.quote(str(home.path))} start"
    return (
        f"\nStart it with: {command}"
        if ready
        else f"\nPut the network's genesis at {home.genesis}, then: {command}"
    )


def _show(
    home: Home,
    config: Config,
    keys: home_making.NodeKeys,
    network: bytes | None,
    wallet: str | None,
    json: bool,
) -> None:
    shown = {
        "home": str(home.path),
        "name": config.node.name,
        "node_id": keys.node_id,
        "validator": validator_text(keys.validator),
        "network": network.hex() if network is not None else None,
        "listen": f"/ip4/{config.network.host}/tcp/{config.network.port}",
        "wallet": wallet,
    }
    if json:
        print_json(shown)
    else:
        print_fields((name.replace("_", " "), value) for name, value in shown.items() if value is not None)
