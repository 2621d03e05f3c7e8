"""The genesis of a network known only by an invite: asked of a peer, checked against its hash."""

import trio

from prsm_node import __version__, genesis
from prsm_node.errors import OperatorError
from prsm_node.genesis import Genesis
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.invite import Invite
from prsm_node.network.asking import PeerFault
from prsm_node.network.config import NetworkConfig
from prsm_node.network.link import Link
from prsm_node.network.links import Links
from prsm_node.wire.payloads import GenesisWanted

JOINED_S = 30.0
ANSWER_S = 10.0


def fetched_genesis(invite: Invite) -> Genesis:
    """Return the genesis; raise OperatorError where no address gives the right one in JOINED_S."""
    found = trio.run(_fetch, invite)
    if found is None:
        raise OperatorError(
            f"none of {', '.join(invite.addresses)} gave the genesis within {JOINED_S:g} s; "
            "see that they can be reached, or ask for a newer invite"
        )
    return found


async def _fetch(invite: Invite) -> Genesis | None:
    up, links_up = trio.open_memory_channel[Link](len(invite.addresses))

    def on_link_up(link: Link) -> None:
        try:
            up.send_nowait(link)
        except trio.WouldBlock:
            return  # more links than addresses: others dialled us, and nobody needs them

    # A key for this errand alone: the node's own is made when the home is.
    config = NetworkConfig(bootstrap=invite.addresses, exchange_peers=False)
    links = Links(config, SigningKey.generate(), invite.genesis, version=__version__, on_link_up=on_link_up)
    found: Genesis | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(links.run)
        with trio.move_on_after(JOINED_S):
            while found is None:
                found = await _ask(links, await links_up.receive(), invite)
        nursery.cancel_scope.cancel()
    return found


async def _ask(links: Links, link: Link, invite: Invite) -> Genesis | None:
    """What this peer answers, if it is the genesis of the invite."""
    try:
        made = genesis.decode(await links.ask(link, GenesisWanted(), ANSWER_S))
    except (PeerFault, LookupError, genesis.GenesisError):
        return None
    return made if made.hash == invite.genesis else None
