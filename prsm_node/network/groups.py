"""The network group of an address: what one owner is likely to hold whole, so that thousands of addresses in
it count for little more than one.

/16 of IPv4 and /32 of IPv6, as Bitcoin has them (Heilman et al., "Eclipse Attacks on Bitcoin's Peer-to-Peer
Network", USENIX Security 2015). Addresses that no stranger reaches us from are treated apart, so that a
network on one machine or in one room works as a large one does: each private address is a group of its own,
for there an address costs a machine, and loopback is one group that no limit on groups applies to.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from prsm_node.network.addresses import Address

IPV4_BITS = 16
IPV6_BITS = 32
# What one line of a provider has, in which addresses cost nothing, and what one site has at most (RFC 6177).
IPV6_LINE_BITS, IPV6_SITE_BITS = 64, 48
LOOPBACK = "loopback"
NOWHERE = ""
"""The group of a link whose address is not known."""
_PRIVATE: tuple[IPv4Network | IPv6Network, ...] = (
    ip_network("10.0.0.0/8"),
    ip_network("172.16.0.0/12"),
    ip_network("192.168.0.0/16"),
    ip_network("100.64.0.0/10"),  # behind a provider's NAT (RFC 6598)
    ip_network("169.254.0.0/16"),
    ip_network("fc00::/7"),
    ip_network("fe80::/10"),
)


def group_of(address: Address) -> str:
    """Return `203.0.0.0/16`, `2001:db8::/32`, a private address as it is, `loopback`, or `*.example.org` for
    a name."""
    if address.family in ("ip4", "ip6"):
        return group_of_host(address.host)
    labels = address.host.lower().rstrip(".").split(".")
    return LOOPBACK if labels[-1] == "localhost" else f"*.{'.'.join(labels[-2:])}"


@lru_cache(maxsize=4_096)
def group_of_host(host: str) -> str:
    """The same of an IP address; NOWHERE of "" ."""
    if not host:
        return NOWHERE
    ip = _plain(ip_address(host.partition("%")[0]))
    if ip.is_loopback:
        return LOOPBACK
    if any(ip.version == network.version and ip in network for network in _PRIVATE):
        return str(ip)
    return str(ip_network((ip, IPV4_BITS if ip.version == 4 else IPV6_BITS), strict=False))


@lru_cache(maxsize=4_096)
def places_of_host(host: str) -> tuple[str, ...]:
    """Return what answers for an IP address, each wider than the one before: itself, or of IPv6 its line and
    its site, and its group where strangers share that. Nothing for "" ."""
    group = group_of_host(host)
    if group == NOWHERE:
        return ()
    ip = _plain(ip_address(host.partition("%")[0]))
    if not is_shared(group):
        return (str(ip),)
    if ip.version == 4:
        return str(ip), group
    line, site = (str(ip_network((ip, bits), strict=False)) for bits in (IPV6_LINE_BITS, IPV6_SITE_BITS))
    return line, site, group


def is_shared(group: str) -> bool:
    """Whether strangers share a group, so that limits on groups apply: not so where it is this machine, one
    machine in the room, or not known."""
    return "/" in group or group.startswith("*.")


def _plain(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address inside an IPv6 one: whoever holds that one holds all its forms."""
    if isinstance(ip, IPv6Address):
        return ip.ipv4_mapped or ip.sixtofour or ip
    return ip
