"""`prsm-node tx HASH`."""

from typing import Annotated

import typer

from prsm_node.cli.amounts import ftns
from prsm_node.cli.daemon import daemon
from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_fields, print_json
from prsm_node.control.views import TransactionView
from prsm_node.errors import OperatorError
from prsm_node.identity.addresses import account_text
from prsm_node.ledger.transactions import decode_transaction


def tx(
    digest: Annotated[str, typer.Argument(metavar="HASH", help="64 hexadecimal digits.")],
    json: JsonFlag = False,
) -> None:
    """A transaction and what became of it."""
    with daemon() as client:
        view = client.ask("tx", TransactionView, hash=parse_hash(digest))
    if json:
        print_json(_as_json(view))
    else:
        print_fields(_for_people(view))


def parse_hash(text: str) -> bytes:
    """Return the 32 bytes; raise OperatorError."""
    try:
        digest = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise OperatorError(f"{text[:80]!a} is no hash; write its 64 hexadecimal digits")
    return digest


def memo_text(memo: bytes) -> str:
    """A memo as text; what is no UTF-8, as escapes."""
    return memo.decode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    """Escape what could steer the reader's terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _as_json(view: TransactionView) -> dict[str, object]:
    transaction = decode_transaction(view.raw)
    return {
        "hash": view.hash.hex(),
        "state": "pending" if view.height is None else "final",
        "height": view.height,
        "block_hash": None if view.block_hash is None else view.block_hash.hex(),
        "index": view.index,
        "outcome": view.outcome,
        "sender": account_text(transaction.sender),
        "nonce": transaction.nonce,
        "fee": str(transaction.fee),
        "transfers": [{"to": account_text(o.to), "amount": str(o.amount)} for o in transaction.operations],
        "memo": memo_text(transaction.memo),
    }


def _for_people(view: TransactionView) -> list[tuple[str, object]]:
    transaction = decode_transaction(view.raw)
    place = "pending: in no block yet"
    if view.height is not None and view.block_hash is not None:
        place = f"final in block {view.height} ({view.block_hash.hex()})"
    return [
        ("hash", view.hash.hex()),
        ("state", place),
        ("outcome", view.outcome or "not executed yet"),
        ("from", account_text(transaction.sender)),
        *(("to", f"{account_text(o.to)}  {ftns(o.amount)}") for o in transaction.operations),
        ("fee", ftns(transaction.fee)),
        ("nonce", transaction.nonce),
        ("memo", printable(memo_text(transaction.memo))),
    ]
