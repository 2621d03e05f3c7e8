"""`prsm-node block HEIGHT`."""

from typing import Annotated

import typer

from prsm_node.cli.daemon import daemon, rfc3339
from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_fields, print_json
from prsm_node.control.views import BlockView, StrengthView
from prsm_node.identity.addresses import validator_text

SHOWN_MAX = 20
HEIGHT_MAX = 2**62  # as the control socket has it


def block(
    height: Annotated[
        int, typer.Argument(metavar="HEIGHT", help="1 is the first block.", min=1, max=HEIGHT_MAX)
    ],
    json: JsonFlag = False,
) -> None:
    """A block, by its height."""
    with daemon() as client:
        view = client.ask("block", BlockView, height=height)
    if json:
        print_json(as_json(view))
    else:
        print_fields(_for_people(view))


def as_json(view: BlockView) -> dict[str, object]:
    """The object that scripts rely on."""
    return {
        "height": view.height,
        "hash": view.hash.hex(),
        "state_root": view.state_root.hex(),
        "proposer": validator_text(view.proposer),
        "round": view.round,
        "time": rfc3339(view.time_ms),
        "transactions": [digest.hex() for digest in view.transactions],
        "strength": view.strength,
    }


def strength_sentence(strength: StrengthView) -> str:
    """What the commit withstands, in words."""
    if strength.tolerated_power == 0:
        return (
            f"no faulty power of {strength.total_power} is tolerated; with four validators or more, some is"
        )
    return f"undoing it takes faulty power of more than {strength.tolerated_power} of {strength.total_power}"


def _for_people(view: BlockView) -> list[tuple[str, object]]:
    hidden = len(view.transactions) - SHOWN_MAX
    rows: list[tuple[str, object]] = [
        ("height", view.height),
        ("hash", view.hash.hex()),
        ("state root", view.state_root.hex()),
        ("proposer", validator_text(view.proposer)),
        ("round", view.round),
        ("time", rfc3339(view.time_ms)),
        ("strength", strength_sentence(view.strength)),
        ("transactions", len(view.transactions)),
        *(("", digest.hex()) for digest in view.transactions[:SHOWN_MAX]),
    ]
    return [*rows, ("", f"and {hidden} more; see --json")] if hidden > 0 else rows
