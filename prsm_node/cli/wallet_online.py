"""`prsm-node wallet send|balance|history`: what a wallet does with a running node. The secret stays here."""

import shlex
from typing import Annotated

import msgspec
import typer

from prsm_node.cli.account import print_account
from prsm_node.cli.amounts import ftns, parse_ftns
from prsm_node.cli.block import strength_sentence
from prsm_node.cli.daemon import daemon, program, rfc3339
from prsm_node.cli.home_options import existing_home
from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_fields, print_json, print_table, say
from prsm_node.cli.passphrase import passphrase_of
from prsm_node.cli.tx import memo_text, printable
from prsm_node.control.protocol import ControlError, Kind
from prsm_node.control.views import AccountView, HistoryView, NetworkView, Settled, StatusView
from prsm_node.errors import OperatorError
from prsm_node.identity import wallets
from prsm_node.identity.addresses import account_text, address_of
from prsm_node.identity.ed25519 import PUBLIC_KEY_BYTES, of_small_order
from prsm_node.ledger.transactions import (
    MEMO_BYTES_MAX,
    Transfer,
    signing_bytes,
    transaction_hash,
    unsigned_bytes,
    with_signature,
)

WALLET = Annotated[str, typer.Argument(metavar="WALLET", help="A wallet's name, or an address.")]
# The daemon answers by itself after --timeout; this much more is for its admission.
GRACE_S = 15.0
POSITION_MAX = 2**62  # as the control socket has it


def send(
    sender: Annotated[str, typer.Option("--from", metavar="WALLET", help="The wallet that pays.")],
    to: Annotated[str, typer.Option("--to", metavar="ADDRESS", help="prsm1..., or a wallet of this home.")],
    amount: Annotated[str, typer.Option("--amount", metavar="FTNS", help="As 1.5.")],
    fee: Annotated[
        str | None, typer.Option("--fee", metavar="FTNS", help="The least one if not given.")
    ] = None,
    memo: Annotated[str, typer.Option("--memo", help="A remark that all can read.")] = "",
    timeout_s: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="How long to wait.", min=0.1, max=600)
    ] = 30.0,
    json: JsonFlag = False,
) -> None:
    """Pay, and wait until it is final.

    Prints how much faulty voting power it would take to undo the payment.
    """
    home = existing_home()
    transfer = Transfer(_payable(wallets.account(home, to)), _positive(amount))
    memo_bytes = memo.encode()
    if len(memo_bytes) > MEMO_BYTES_MAX:
        raise OperatorError(f"the memo has {len(memo_bytes)} bytes; at most {MEMO_BYTES_MAX} fit")
    payer = wallets.address(wallets.stored(home, sender))
    with daemon() as client:
        network = client.ask("network", NetworkView)
        account = client.ask("account", AccountView, address=payer)
        paid_fee = network.fee_min if fee is None else parse_ftns(fee)
        if paid_fee < network.fee_min:
            raise OperatorError(f"a fee of {ftns(paid_fee)} is too low; the least is {ftns(network.fee_min)}")
        _check_covered(account, transfer.amount + paid_fee, sender)
        key = wallets.unlocked(home, sender, passphrase_of(home))
        assert address_of(key.public) == payer, f"the key of {sender} is not the one that its file names"
        unsigned = unsigned_bytes(payer, account.next_nonce, paid_fee, (transfer,), memo_bytes)
        raw = with_signature(unsigned, key.sign(signing_bytes(network.genesis_hash, unsigned)))
        stream = client.stream("submit_and_wait", timeout_s + GRACE_S, transaction=raw, timeout_s=timeout_s)
        try:
            for kind, payload in stream:
                if kind is Kind.EVENT:
                    say("admitted; waiting for its block ...")
                else:
                    settled = msgspec.msgpack.decode(payload, type=Settled)
        except ControlError as error:
            if error.code not in ("timed_out", "gone"):
                raise
            digest = transaction_hash(raw).hex()
            if json:  # whoever asked by a program looks by the hash, not into a sentence
                print_json({"tx": digest, "height": None, "block_hash": None})
            look = f"{program()} --home {shlex.quote(str(home.path))} tx {digest}"
            raise OperatorError(
                f"{error}; it may be paid yet, so look before you send again: {look}"
            ) from None
    if settled.outcome != "executed":
        raise OperatorError(
            f"{settled.tx.hex()} is final in block {settled.height} but failed: {settled.outcome}; "
            "nothing but its fee was taken"
        )
    if json:
        print_json(
            {
                "tx": settled.tx.hex(),
                "height": settled.height,
                "block_hash": settled.block_hash.hex(),
                "latency_ms": round(settled.latency_ms, 1),
                "strength": settled.strength,
            }
        )
        return
    print_fields(
        [
            ("final", f"block {settled.height}, {settled.latency_ms:.0f} ms after the node got it"),
            (
                "paid",
                f"{ftns(transfer.amount)} to {account_text(transfer.to)}, and a fee of {ftns(paid_fee)}",
            ),
            ("strength", strength_sentence(settled.strength)),
            ("transaction", settled.tx.hex()),
        ]
    )


def balance(wallet: WALLET, json: JsonFlag = False) -> None:
    """What a wallet holds."""
    address = wallets.account(existing_home(), wallet)
    with daemon() as client:
        view = client.ask("account", AccountView, address=address)
    print_account(view, json)


def history(
    wallet: WALLET,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=1_000)] = 20,
    before: Annotated[
        int | None,
        typer.Option(
            metavar="POSITION", help="Go on below the last position shown.", min=0, max=POSITION_MAX
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """A wallet's last payments, newest first."""
    address = wallets.account(existing_home(), wallet)
    with daemon() as client:
        views = client.ask("history", list[HistoryView], address=address, limit=limit, before=before)
        first = client.ask("status", StatusView).first_block
    if first > 1 and len(views) < limit:
        say(f"payments in blocks below {first} are not kept by this node")
    if json:
        print_json({"address": account_text(address), "history": [_as_json(view) for view in views]})
        return
    if not views:
        say(f"no payments of {account_text(address)}")
        return
    rows = [row for view in views for row in _rows(view, address)]
    print_table(("time", "height", "change", "fee", "with", "memo"), rows, right=(1, 2, 3))
    if len(views) == limit:
        say(f"older ones: add --before {views[-1].position}")


def _positive(amount: str) -> int:
    parsed = parse_ftns(amount)
    if parsed == 0:
        raise OperatorError("an amount of 0 moves nothing; choose at least 0.000000001")
    return parsed


def _payable(address: bytes) -> bytes:
    if of_small_order(address[-PUBLIC_KEY_BYTES:]):
        raise OperatorError(
            f"{account_text(address)} is nobody's: anyone can sign for it and take what you send; "
            "ask for an address again"
        )
    return address


def _check_covered(account: AccountView, needed: int, name: str) -> None:
    if account.balance < needed:
        raise OperatorError(f"{name} holds {ftns(account.balance)}; {ftns(needed)} are needed, fee included")


def _as_json(view: HistoryView) -> dict[str, object]:
    return {
        "position": view.position,
        "tx": view.hash.hex(),
        "height": view.height,
        "time": rfc3339(view.time_ms),
        "sender": account_text(view.sender),
        "nonce": view.nonce,
        "fee": str(view.fee),
        "transfers": [{"to": account_text(to), "amount": str(amount)} for to, amount in view.transfers],
        "memo": memo_text(view.memo),
        "outcome": view.outcome,
    }


def _rows(view: HistoryView, address: bytes) -> list[tuple[object, ...]]:
    when = rfc3339(view.time_ms)
    memo = printable(memo_text(view.memo))
    fee = ftns(-view.fee) if view.sender == address else ""
    if view.outcome != "executed":
        return [(when, view.height, "-", fee, "-", f"failed: {view.outcome}")]
    rows: list[tuple[object, ...]] = []
    for to, amount in view.transfers:
        if view.sender == address:
            rows.append((when, view.height, f"-{ftns(amount)}", fee, account_text(to), memo))
            fee = ""  # once for all that one transaction pays
        if to == address:
            rows.append((when, view.height, f"+{ftns(amount)}", "", account_text(view.sender), memo))
    return rows
