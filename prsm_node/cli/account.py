"""`prsm-node account ADDRESS`."""

from typing import TYPE_CHECKING, Annotated

import typer

from prsm_node.cli.amounts import ftns
from prsm_node.cli.daemon import daemon
from prsm_node.cli.home_options import chosen_home
from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_fields, print_json
from prsm_node.control.views import AccountView
from prsm_node.identity import wallets
from prsm_node.identity.addresses import account_text

if TYPE_CHECKING:
    from prsm_node.account_proof import ProvenAccount

PROOF_S = 30.0
"""The daemon gives up by itself sooner, and says why."""


def account(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="prsm1..., or a wallet of this home.")],
    proof: Annotated[
        bool, typer.Option("--proof", help="Print a proof that needs no trust in this node, as JSON.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Balance and nonce of an account.

    With --proof the answer is one JSON object for a file: the account, the state root that covers it, and the
    block header and commit certificate that certify the root. `prsm-node verify-proof` checks it.
    """
    wanted = wallets.account(chosen_home(), address)
    if proof:
        print_json(proven(wanted))
        return
    with daemon() as client:
        view = client.ask("account", AccountView, address=wanted)
    print_account(view, json)


def proven(address: bytes) -> "ProvenAccount":
    """Ask the daemon for a proof, and put what it shows in words."""
    import msgspec

    from consensus.light import SetChange
    from prsm_node.account_proof import Evidence, claimed
    from prsm_node.control.protocol import Kind
    from prsm_node.control.views import NetworkView

    changes = []
    with daemon() as client:
        for kind, payload in client.stream("account_proof", PROOF_S, address=address):
            if kind is Kind.EVENT:
                changes.append(msgspec.msgpack.decode(payload, type=SetChange))
            else:
                evidence = msgspec.msgpack.decode(payload, type=Evidence)
        network = client.ask("network", NetworkView)
    whole = msgspec.structs.replace(evidence, changes=tuple(changes))
    return claimed(whole, address, network.genesis_hash)


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
