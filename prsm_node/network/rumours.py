"""What others may make this node dial: an address that was told of is a rumour until a link came of it.

Peers name third parties, so without bounds a few liars would aim every node of the network at a stranger, or
at services on its own machine. Implausible addresses are refused; those that one peer told of are dialled at
a bounded rate; a place that did not answer waits, whatever node keys are said to live there. An operator's
bootstrap addresses are none of this module's business.
"""

from collections import OrderedDict
from ipaddress import IPv4Address, ip_address

import msgspec

from prsm_node.network.addresses import Address
from prsm_node.network.config import NetworkConfig
from prsm_node.token_bucket import TokenBucket

# One full PEERS message, two thirds of what the book takes of a whole network group.
NODES_PER_TELLER_MAX = 64
# A newcomer dials the 32 links that it wants at once from what its one bootstrap peer tells; after that one
# in two seconds, which aims at a stranger at most 64 / 2 connections a second of a node with 64 liars.
TOLD_DIALS_BURST = 32
TOLD_DIALS_PER_S = 0.5
# A place that never answered: waits double to ten minutes, also after the book forgot the node.
PLACE_WAIT_MAX_S = 600.0
# Dials to a place where a link of ours once lasted, before it is a rumour again: a node that restarts.
DIALS_AFTER_LINK = 10
# 4,096 places x about 250 bytes = 1 MB, 1,024 tellers x 200; the one used least recently is forgotten.
PLACES_MAX = 4_096
TELLERS_MAX = 1_024


class _Place(msgspec.Struct):
    failures: int = 0
    """Dials since the last link that lasted; below 0, dials that are free."""
    due: float = 0.0


class Rumours:
    """What was dialled on hearsay. `now`: seconds of any monotonic clock, the same in every call."""

    def __init__(self, config: NetworkConfig) -> None:
        self._config = config
        self._places: OrderedDict[tuple[str, int], _Place] = OrderedDict()
        self._tellers: OrderedDict[bytes, TokenBucket] = OrderedDict()

    def may_dial(self, address: Address, teller: bytes, now: float) -> bool:
        """Whether this address may be dialled now; if so the dial is counted. b"": told by nobody linked."""
        key = (address.host.lower(), address.port)
        place = self._places.get(key) or _Place()
        if place.due > now or (place.failures >= 0 and not self._bucket(teller, now).take(1, now)):
            return False
        place.failures += 1
        if place.failures > 0:
            # 2**30 x 0.2 s is beyond any bound: the exponent need not grow further.
            wait_s = self._config.redial_min_s * 2 ** min(place.failures - 1, 30)
            place.due = now + min(wait_s, PLACE_WAIT_MAX_S)
        self._keep(key, place)
        return True

    def reached(self, address: Address) -> None:
        """A link that we dialled there lasted: no rumour any longer."""
        self._keep((address.host.lower(), address.port), _Place(failures=-DIALS_AFTER_LINK))

    def _keep(self, key: tuple[str, int], place: _Place) -> None:
        self._places[key] = place
        self._places.move_to_end(key)
        if len(self._places) > PLACES_MAX:
            self._places.popitem(last=False)

    def _bucket(self, teller: bytes, now: float) -> TokenBucket:
        bucket = self._tellers.pop(teller, None) or TokenBucket(TOLD_DIALS_PER_S, TOLD_DIALS_BURST, now)
        self._tellers[teller] = bucket
        if len(self._tellers) > TELLERS_MAX:
            self._tellers.popitem(last=False)
        return bucket


def implausible(address: Address, teller_is_local: bool) -> str | None:
    """Return why nobody can be dialled there, None where one may be.

    `teller_is_local`: it speaks to us over loopback, so that its loopback is ours.
    """
    if address.port == 0:
        return "no_port"
    if is_loopback(address):
        return None if teller_is_local else "loopback"
    if address.family not in ("ip4", "ip6"):
        return None
    host = ip_address(address.host)
    host = getattr(host, "ipv4_mapped", None) or host
    if host.is_unspecified or host.is_multicast or (isinstance(host, IPv4Address) and host.is_reserved):
        return "not_unicast"
    # Without a zone it cannot be dialled, and clouds keep their secrets at 169.254.169.254.
    return "link_local" if host.is_link_local else None


def is_loopback(address: Address) -> bool:
    if address.family not in ("ip4", "ip6"):
        name = address.host.lower().rstrip(".")
        return name == "localhost" or name.endswith(".localhost")
    host = ip_address(address.host)
    return (getattr(host, "ipv4_mapped", None) or host).is_loopback


def on_every_interface(address: Address) -> bool:
    """Whether the host is 0.0.0.0 or ::, which says where a node listens and not where it is."""
    return address.family in ("ip4", "ip6") and ip_address(address.host).is_unspecified
