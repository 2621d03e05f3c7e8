"""The settings of the network room, with reasons; prsm_node/config.py is where an operator sets them."""

import msgspec

from prsm_node.network.answer_budget import AnswerBytes


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How one node listens, whom it looks for and how long it waits."""

    listen: tuple[str, ...] = ("/ip4/127.0.0.1/tcp/0",)
    """TCP multiaddresses; port 0 takes a free one, which is reported."""
    advertise: tuple[str, ...] = ()
    """What peers are told instead of `listen`, behind NAT."""
    bootstrap: tuple[str, ...] = ()
    """Peers to keep a link to, each ending in /p2p/<peer id>."""
    mdns: bool = False
    dht: bool = False
    exchange_peers: bool = True
    """Tell peers of each other and dial whom they tell of."""
    links_max: int = 64
    links_wanted: int = 32
    """Peers that were only heard of are dialled up to this many links; bootstrap ones always."""
    heartbeat_s: float = 2.0
    missed_heartbeats_max: int = 3
    """A link is dropped when nothing was heard, or nothing of ours was echoed, for this many."""
    greeting_s: float = 5.0
    """A new connection must have greeted within this."""
    dial_s: float = 5.0
    stall_s: float = 3.0
    """A write that takes longer ends the link: its peer does not read."""
    redial_min_s: float = 0.2
    redial_max_s: float = 15.0
    redial_known_max_s: float = 1.0
    """The same for bootstrap nodes: after a cut that left no quorum, all wait for them."""
    hangs_beats: float = 1.5
    """A node whose link was silent for so many heartbeats is dialled beside it: after a cut TCP sends again
    only in its own time, by then seconds apart, and a new connection is there within one."""
    ban_s: float = 60.0
    peer_exchange_s: float = 30.0
    have_s: float = 1.0
    """How often the digests of recent gossip are offered for repair."""
    answers: AnswerBytes = AnswerBytes()
    """What peers may make this node send."""
