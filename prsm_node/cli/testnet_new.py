"""`prsm-node testnet new`."""

from pathlib import Path
from typing import Annotated

import typer

from prsm_node.cli import home_making
from prsm_node.cli.amounts import ftns
from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_json, print_table, say
from prsm_node.errors import OperatorError
from prsm_node.identity import wallets
from prsm_node.identity.addresses import account_text, validator_text

SHOWN_MAX = 5


def new(
    validators: Annotated[int, typer.Option(help="How many nodes, all validators.", min=1, max=256)] = 4,
    accounts: Annotated[int, typer.Option(help="How many funded wallets.", min=0, max=10_000)] = 2,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the homes are made.")] = Path("testnet"),
    json: JsonFlag = False,
) -> None:
    """Make the homes of a local network.

    The homes are DIR/node0 and so on; the wallets dev0 and so on lie in node0. Passphrases lie beside the
    keys, so that the daemons start unattended: use such a network for play only.
    """
    folder = out.expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OperatorError(f"{folder} exists and is not an empty folder; choose another --out")
    made = home_making.local_network([folder / f"node{i}" for i in range(validators)], "testnet", accounts)
    balance = made.genesis.accounts[0].balance if made.wallets else 0
    nodes = [
        {
            "name": config.node.name,
            "home": str(home.path),
            "node_id": keys.node_id,
            "validator": validator_text(keys.validator),
            "listen": f"/ip4/{config.network.host}/tcp/{config.network.port}",
        }
        for home, keys, config in zip(made.homes, made.keys, made.configs, strict=True)
    ]
    funded = [
        {"name": wallet.name, "address": account_text(wallets.address(wallet)), "balance": str(balance)}
        for wallet in made.wallets
    ]
    if json:
        print_json({"network": made.genesis.hash.hex(), "nodes": nodes, "wallets": funded})
        return
    print_table(("node", "listens on", "home"), [(n["name"], n["listen"], n["home"]) for n in nodes])
    if funded:
        print()
        rows = [(w["name"], w["address"], ftns(balance)) for w in funded[:SHOWN_MAX]]
        print_table(("wallet", "address", "balance"), rows, right=(2,))
        if len(funded) > SHOWN_MAX:
            print(f"and {len(funded) - SHOWN_MAX} more, to dev{len(funded) - 1}")
    say(f"\nRun them with: prsm-node testnet up {out}")
