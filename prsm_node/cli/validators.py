"""`prsm-node validators`."""

from prsm_node.cli.daemon import daemon
from prsm_node.cli.output import print_json, print_table
from prsm_node.control.views import ValidatorView
from prsm_node.identity.addresses import validator_text


def validators(json: bool = False) -> None:
    """The validators and their powers."""
    with daemon() as client:
        views = client.ask("validators", list[ValidatorView])
    if json:
        print_json({"validators": [_as_json(view) for view in views]})
        return
    total = sum(view.power for view in views)
    print_table(
        ("name", "power", "share", "link", "key"),
        [
            (
                view.name,
                view.power,
                f"{100 * view.power / total:.1f} %",
                "this node" if view.this_node else "up" if view.connected else "down",
                validator_text(view.key),
            )
            for view in views
        ],
        right=(1, 2),
    )


def _as_json(view: ValidatorView) -> dict[str, object]:
    return {
        "key": validator_text(view.key),
        "name": view.name,
        "power": view.power,
        "this_node": view.this_node,
        "connected": view.connected,
    }
