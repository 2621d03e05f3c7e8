"""`prsm-node invite`."""

from prsm_node.cli.daemon import daemon
from prsm_node.cli.output import JsonFlag, print_json, say


def invite(json: JsonFlag = False) -> None:
    """Print an invite to this network.

    Whoever runs `prsm-node join INVITE` gets the genesis from one of the addresses in it, checks it against
    the hash in it, and follows the chain from the block in it.
    """
    with daemon() as client:
        text = client.ask("invite", str)
    if json:
        print_json({"invite": text})
        return
    print(text)
    say("on the other machine: prsm-node join INVITE, with the line above as INVITE")
