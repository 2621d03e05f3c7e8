"""`prsm-node verify-proof FILE`: an account's proof, checked offline."""

import time
from pathlib import Path
from typing import Annotated

import typer

from prsm_node import account_proof
from prsm_node import genesis as genesis_file
from prsm_node.cli.amounts import ftns
from prsm_node.cli.daemon import rfc3339
from prsm_node.cli.home_options import chosen_home
from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_fields, print_json, say
from prsm_node.control.views import left
from prsm_node.errors import OperatorError
from prsm_node.identity.addresses import account_text


def verify_proof(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `account ADDRESS --proof` printed.")],
    genesis: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The genesis.json to trust; else that of the home."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Check an account's proof, offline.

    Asks nobody: the validators of the genesis, and those whom they let follow, vouch for the block that names
    the state root, and the root covers the account. The exit code is 0 only if all that the file claims is
    proven. It is the account after that block, at its time: what came after, a proof can't show. Its age is
    told, and a warning where it is greater than the network's unbonding time, for which validators answer for
    what they signed.
    """
    path = genesis if genesis is not None else chosen_home().genesis
    if not path.exists():
        raise OperatorError(f"there is no genesis at {path}; name the one to trust with --genesis FILE")
    trusted = genesis_file.load(path)
    shown = account_proof.check(account_proof.read(file), trusted)
    now_ms = time.time_ns() // 1_000_000
    doubt = shown.doubt(now_ms)
    fields = {
        "address": account_text(shown.account.address),
        "balance": str(shown.account.balance),
        "nonce": shown.account.nonce,
        "height": shown.height,
        "certified_by_height": shown.signed_height,
        "certified_at": rfc3339(shown.signed_ms),
        "age_ms": now_ms - shown.signed_ms,
        "within_trusting_period": not doubt,
        "signed_power": shown.signed_power,
        "total_power": shown.total_power,
    }
    if doubt:
        say(f"warning: {doubt}")
    if json:
        print_json({"proven": True, **fields})
        return
    print_fields(
        [
            ("proven", "yes"),
            ("address", fields["address"]),
            ("balance", ftns(shown.account.balance)),
            ("nonce", shown.account.nonce),
            ("after block", shown.height),
            ("certified by", f"block {shown.signed_height}, {shown.signed_power} of {shown.total_power}"),
            ("at", f"{fields['certified_at']}, {_ago(now_ms - shown.signed_ms)}"),
        ]
    )


def _ago(age_ms: int) -> str:
    return f"{left(age_ms / 1_000)} ago" if age_ms >= 0 else f"in {left(-age_ms / 1_000)}"
