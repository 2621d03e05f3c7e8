"""`prsm-node account ADDRESS`."""

from typing import Annotated

import typer

from prsm_node.cli.amounts import ftns
from prsm_node.cli.daemon import daemon
from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_fields, print_json
from prsm_node.control.views import AccountView
from prsm_node.identity.addresses import account_text, parse_account


def account(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="prsm1...")],
    json: JsonFlag = False,
) -> None:
    """Balance and nonce of an account."""
    wanted = parse_account(address)
    with daemon() as client:
        view = client.ask("account", AccountView, address=wanted)
    print_account(view, json)


def print_account(view: AccountView, json: bool) -> None:
    """Print one account, for `account` and `wallet balance`."""
    if json:
        print_json(
            {
                "address": account_text(view.address),
                "balance": str(view.balance),
                "nonce": view.nonce,
                "next_nonce": view.next_nonce,
            }
        )
        return
    pending = view.next_nonce - view.nonce
    print_fields(
        [
            ("address", account_text(view.address)),
            ("balance", ftns(view.balance)),
            ("nonce", f"{view.nonce}, {pending} pending" if pending else view.nonce),
        ]
    )
