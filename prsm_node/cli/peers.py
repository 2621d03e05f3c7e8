"""`prsm-node peers`."""

from typing import Annotated

import click
import typer

from prsm_node.cli.daemon import daemon, milliseconds, rfc3339
from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_json, print_table, say
from prsm_node.control.client import Client
from prsm_node.control.params import BANNED_LENGTH_MAX
from prsm_node.control.views import BanView, PeerView
from prsm_node.identity.addresses import validator_text


def peers(
    banned: Annotated[bool, typer.Option("--banned", help="Who is banned, why, and until when.")] = False,
    unban: Annotated[
        str | None,
        typer.Option("--unban", metavar="WHO", help="Lift a ban, by the first column of --banned."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """The peers this node is connected to, or whom it banned.

    Bans end by themselves; each later one of the same peer or place lasts four times as long.
    """
    if banned and unban is not None:
        raise click.UsageError("--banned lists and --unban lifts; choose one")
    if unban is not None and not unban.strip():
        raise click.UsageError("--unban is empty; name who may link again, as prsm-node peers --banned does")
    if unban is not None and len(unban) > BANNED_LENGTH_MAX:
        raise click.UsageError(
            f"--unban has {len(unban)} characters, and prsm-node peers --banned no such name"
        )
    with daemon() as client:
        if unban is not None:
            client.ask("unban", object, who=unban)
            if json:
                print_json({"unbanned": unban})
            else:
                say(f"{unban} may link again")
        elif banned:
            _print_banned(client, json)
        else:
            _print_peers(client, json)


def _print_banned(client: Client, json: bool) -> None:
    bans = client.ask("bans", list[BanView])
    if json:
        print_json({"banned": [_ban_as_json(ban) for ban in bans]})
    elif not bans:
        say("nobody is banned")
    else:
        print_table(
            ("who", "why", "since", "until", "offences"),
            [
                (ban.who, _printable(ban.why), rfc3339(ban.since_ms), rfc3339(ban.until_ms), ban.offences)
                for ban in bans
            ],
            right=(4,),
        )


def _printable(why: str) -> str:
    return why if why.isprintable() else ascii(why)


def _ban_as_json(ban: BanView) -> dict[str, object]:
    return {
        "who": ban.who,
        "why": ban.why,
        "since": rfc3339(ban.since_ms),
        "until": rfc3339(ban.until_ms),
        "offences": ban.offences,
    }


def _print_peers(client: Client, json: bool) -> None:
    views = client.ask("peers", list[PeerView])
    if json:
        print_json({"peers": [_as_json(view) for view in views]})
        return
    if not views:
        say("this node has no peers; an invite from another node says where some are: prsm-node join INVITE")
        return
    print_table(
        ("node", "address", "link", "height", "ms", "score", "cpu s", "validator"),
        [
            (
                view.node_id,
                view.address.partition("/p2p/")[0],
                "out" if view.outbound else "in",
                view.height,
                "-" if view.round_trip_ms is None else f"{view.round_trip_ms:.1f}",
                f"{view.score:.1f}",
                f"{view.cpu_s:.2f}",
                "-" if view.validator is None else validator_text(view.validator),
            )
            for view in views
        ],
        right=(3, 4, 5, 6),
    )


def _as_json(view: PeerView) -> dict[str, object]:
    return {
        "node_id": view.node_id,
        "address": view.address,
        "outbound": view.outbound,
        "validator": None if view.validator is None else validator_text(view.validator),
        "height": view.height,
        "round_trip_ms": milliseconds(view.round_trip_ms),
        "score": view.score,
        "connected_since": rfc3339(view.connected_since_ms),
        "bytes_in": view.bytes_in,
        "bytes_out": view.bytes_out,
        "cpu_s": round(view.cpu_s, 3),
    }
