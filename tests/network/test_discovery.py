"""A node finds others with one address, or none, to begin with."""

import pytest
import trio

from prsm_node.network.discovery import Discovery
from tests.network.nodes import Node, config, running, until


async def discovering(nursery: trio.Nursery, index: int, *bootstrap: str, **settings: object) -> Node:
    node = Node(index, config(*bootstrap, heartbeat_s=5, **settings))
    discovery = Discovery(node.links)
    node.addresses = await nursery.start(node.links.run)
    nursery.start_soon(discovery.run)
    return node


async def test_the_dht_finds_who_shares_a_bootstrap_peer() -> None:
    async with running() as nursery:
        first = await discovering(nursery, 1, dht=True, exchange_peers=True, peer_exchange_s=1e6)
        second = await discovering(nursery, 2, *first.addresses, dht=True)
        await until(lambda: len(first.links.links()) == 1)
        third = await discovering(nursery, 3, *first.addresses, dht=True)
        walk = second.links.learn
        await until(lambda: third.links.links() and len(first.links.links()) == 2)
        await until(lambda: second.links.book.addresses(third.links.node_key), within_s=15)
        assert walk([third.addresses[0]]) == 0, "it is known already"


async def test_multicast_dns_finds_neighbours_without_any_address() -> None:
    async with running() as nursery:
        nodes = [
            await discovering(nursery, index, mdns=True, exchange_peers=True, peer_exchange_s=1e6)
            for index in (1, 2)
        ]
        with trio.move_on_after(15):
            while not all(node.links.links() for node in nodes):
                if any("discovery_failed" in name for node in nodes for name in node.links.stats()):
                    pytest.skip("not run: no multicast on this machine")
                await trio.sleep(0.05)
        assert all(node.links.links() for node in nodes)
