"""`prsm-node invite`."""

from prsm_node import invite as invites
from prsm_node.cli.daemon import daemon
from prsm_node.cli.output import print_json, say


def invite(json: bool = False) -> None:
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
    where = "in another home"
    if all(_on_loopback(address) for address in invites.decode(text).addresses):
        where += " on this machine (this node listens on loopback alone; see network.host)"
    say(f"{where}: prsm-node --home DIR join INVITE, with the line above as INVITE")


def _on_loopback(address: str) -> bool:
    return address.startswith(("/ip4/127.", "/ip6/::1/"))
