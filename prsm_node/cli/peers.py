"""`prsm-node peers`."""

from prsm_node.cli.daemon import daemon, milliseconds, rfc3339
from prsm_node.cli.output import print_json, print_table, say
from prsm_node.control.views import PeerView
from prsm_node.identity.addresses import validator_text


def peers(json: bool = False) -> None:
    """The peers this node is connected to."""
    with daemon() as client:
        views = client.ask("peers", list[PeerView])
    if json:
        print_json({"peers": [_as_json(view) for view in views]})
        return
    if not views:
        say("this node has no peers; an invite from another node says where some are: prsm-node join INVITE")
        return
    print_table(
        ("node", "address", "link", "height", "ms", "score", "validator"),
        [
            (
                view.node_id,
                view.address.partition("/p2p/")[0],
                "out" if view.outbound else "in",
                view.height,
                "-" if view.round_trip_ms is None else f"{view.round_trip_ms:.1f}",
                f"{view.score:.1f}",
                "-" if view.validator is None else validator_text(view.validator),
            )
            for view in views
        ],
        right=(3, 4, 5),
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
    }
