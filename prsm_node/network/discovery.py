"""Who else there is: peers tell of peers, the Kademlia DHT is walked, multicast DNS asks the local network.

All three only teach the address book; links.py decides whom to dial, and a greeting decides who belongs to
this network. Each can be switched off. Bootstrap addresses need none of them. What fails here is counted,
told once and tried again: discovery never ends the daemon.
"""

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import structlog
import trio

from prsm_node.network.address_book import AddressBook
from prsm_node.network.addresses import peer_id_of
from prsm_node.network.config import NetworkConfig
from prsm_node.network.frame_dispatch import Handler
from prsm_node.network.link import Link
from prsm_node.network.multicast_dns import MulticastDns
from prsm_node.wire.frames import encode_message
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import PEERS_MAX

if TYPE_CHECKING:
    import random

    from prsm_node.network.host import Host

log = structlog.get_logger("network")

# Of each linked node: one that works is enough for a start.
ADDRESSES_TOLD = 2
DHT_PREFIX = "/prsm"
# Quick while few are known: a bootstrap peer's neighbours show up in a second.
DHT_WALK_MIN_S, DHT_WALK_MAX_S = 1.0, 120.0
DHT_QUERY_S = 10.0
PEERSTORE_S = 3_600
RETRY_S = 30.0


class DiscoveryLinks(Protocol):
    """What discovery needs of links.py."""

    config: NetworkConfig
    book: AddressBook
    node_key: bytes
    network_id: bytes
    random: "random.Random"

    @property
    def advertised(self) -> tuple[str, ...]: ...
    @property
    def host(self) -> "Host": ...
    def handle(self, kind: Kind, handler: Handler) -> None: ...
    def watch(self, up: Callable[[Link], None]) -> None: ...
    def links(self) -> list[Link]: ...
    def learn(self, addresses: tuple[str, ...] | list[str], teller: Link | None = None) -> int: ...
    def count(self, name: str) -> None: ...


class Discovery:
    """Teaches the address book. Make it before the links run, and run() it once they have started."""

    def __init__(self, links: DiscoveryLinks) -> None:
        self._links = links
        links.handle(Kind.PEERS, self._peers)
        if links.config.exchange_peers:
            links.watch(self._tell)

    async def run(self) -> None:
        """Look for others until cancelled."""
        config = self._links.config
        async with trio.open_nursery() as nursery:
            if config.exchange_peers:
                nursery.start_soon(self._exchange)
            if config.dht:
                nursery.start_soon(self._again, "dht", self._walk_dht)
            if config.mdns:
                nursery.start_soon(self._again, "mdns", MulticastDns(self._links).run)

    async def _again(self, way: str, search: Callable[[], Awaitable[None]]) -> None:
        told = ""
        while True:
            try:
                await search()
            except Exception as error:  # sockets without multicast, the DHT's own faults
                why = type(error).__name__
                self._links.count(f"discovery_failed.{way}.{why}")
                if why != told:
                    log.warning("discovery_failed", way=way, why=why, detail=str(error), again_in_s=RETRY_S)
                told = why
            await trio.sleep(RETRY_S)

    # Peer exchange.

    def _tell(self, link: Link) -> None:
        told = [
            str(address)
            for other in self._links.links()
            if other.node_key != link.node_key
            for address in self._links.book.addresses(other.node_key)[:ADDRESSES_TOLD]
        ]
        if told:
            chosen = self._links.random.sample(told, min(len(told), PEERS_MAX))
            link.send(Kind.PEERS, encode_message(tuple(chosen)))

    def _peers(self, link: Link, messages: list[tuple[str, ...]], raw: list[bytes]) -> None:
        if self._links.config.exchange_peers:
            for addresses in messages:
                self._links.learn(addresses, link)

    async def _exchange(self) -> None:
        while True:
            await trio.sleep(self._links.config.peer_exchange_s * self._links.random.uniform(0.8, 1.2))
            for link in self._links.links():
                self._tell(link)

    # Kademlia.

    async def _walk_dht(self) -> None:
        """Serve the DHT and walk to random keys; nodes on the way are learnt."""
        from libp2p.custom_types import TProtocol
        from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
        from libp2p.peer.id import ID
        from libp2p.tools.anyio_service import background_trio_service
        from multiaddr import Multiaddr  # type: ignore[import-untyped]

        host = self._links.host.libp2p
        dht = KadDHT(
            host,
            DHTMode.SERVER,
            protocol_prefix=TProtocol(DHT_PREFIX),
            enable_providers=False,
            enable_values=False,
        )
        wait = DHT_WALK_MIN_S
        async with background_trio_service(dht):
            while True:
                for link in self._links.links():
                    peer = ID.from_base58(peer_id_of(link.node_key))
                    addresses = self._links.book.addresses(link.node_key)
                    known = [Multiaddr(address.transport) for address in addresses]
                    host.get_peerstore().add_addrs(peer, known, PEERSTORE_S)
                    await dht.add_peer(peer, skip_server_mode_check=True)
                learned = 0
                for target in (host.get_id().to_bytes(), os.urandom(32)):
                    with trio.move_on_after(DHT_QUERY_S):
                        for peer in await dht.peer_routing.find_closest_peers_network(target):
                            learned += self._learn_peer(peer)
                wait = DHT_WALK_MIN_S if learned else min(wait * 2, DHT_WALK_MAX_S)
                await trio.sleep(wait)

    def _learn_peer(self, peer: Any) -> int:
        try:
            addresses = self._links.host.libp2p.get_peerstore().addrs(peer)
        except Exception:  # nothing is known of it
            return 0
        return self._links.learn(
            [f"{str(address).partition('/p2p/')[0]}/p2p/{peer}" for address in addresses]
        )
