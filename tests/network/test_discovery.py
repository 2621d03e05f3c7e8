"""A node finds others with one address, or none, to begin with."""

import threading
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from zeroconf import EventLoopBlocked, ServiceInfo, Zeroconf

from prsm_node.network import discovery, multicast_dns
from prsm_node.network.discovery import Discovery
from tests.network.nodes import Node, config, running, until


async def discovering(nursery: trio.Nursery, index: int, *bootstrap: str, **settings: object) -> Node:
    node = Node(index, config(*bootstrap, heartbeat_s=5, **settings))
    searching = Discovery(node.links)
    node.addresses = await nursery.start(node.links.run)
    nursery.start_soon(searching.run)
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


async def test_a_neighbour_whose_lookup_fails_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def blocked(self: Zeroconf, *args: Any) -> None:
        raise EventLoopBlocked

    monkeypatch.setattr(Zeroconf, "get_service_info", blocked)
    async with running() as nursery:
        node = await discovering(nursery, 1, mdns=True)  # it hears its own announcement too
        await until(lambda: failures(node), within_s=15)
        if not any("mdns_lookup" in name for name in failures(node)):
            pytest.skip("not run: no multicast on this machine")
        assert any("mdns_lookup.EventLoopBlocked" in name for name in failures(node))


async def test_zeroconf_that_is_stuck_holds_up_nobody_and_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(discovery, "RETRY_S", 0.05)
    register, start = Zeroconf.register_service, Zeroconf.start
    released, tries = threading.Event(), list[Zeroconf]()

    def starts(self: Zeroconf) -> None:
        start(self)
        if not tries:  # what is called next may take no longer than this
            monkeypatch.setattr(multicast_dns, "CALL_S", 0.5)

    def stuck_at_first(self: Zeroconf, info: ServiceInfo) -> None:
        tries.append(self)
        if len(tries) == 1:
            released.wait()
            return
        monkeypatch.setattr(multicast_dns, "CALL_S", 10.0)
        register(self, info)

    monkeypatch.setattr(Zeroconf, "start", starts)
    monkeypatch.setattr(Zeroconf, "register_service", stuck_at_first)
    try:
        with capture_logs() as told:
            async with running() as nursery:
                node = await discovering(nursery, 1, mdns=True)
                await until(lambda: tries or failures(node))
                if not tries:
                    pytest.skip("not run: no multicast on this machine")
                await until(lambda: len(tries) == 2, within_s=15)
        assert "discovery_failed.mdns.TooSlowError" in failures(node)
        lines = [line for line in told if line["event"] == "discovery_failed"]
        assert [(line["way"], line["why"]) for line in lines] == [("mdns", "TooSlowError")]
    finally:
        released.set()


async def test_zeroconf_whose_loop_has_ended_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multicast_dns, "WATCH_S", 0.2)
    monkeypatch.setattr(multicast_dns, "CALL_S", 2.0)
    monkeypatch.setattr(discovery, "RETRY_S", 0.05)
    started: list[Zeroconf] = []
    start = Zeroconf.start

    def seen(self: Zeroconf) -> None:
        started.append(self)
        start(self)

    monkeypatch.setattr(Zeroconf, "start", seen)
    async with running() as nursery:
        node = await discovering(nursery, 1, mdns=True)
        await until(lambda: (started and started[0].started) or failures(node))
        if failures(node):
            pytest.skip("not run: no multicast on this machine")
        assert started[0].loop is not None
        started[0].loop.call_soon_threadsafe(started[0].loop.stop)
        await until(lambda: len(started) == 2, within_s=20)


def failures(node: Node) -> list[str]:
    return [name for name in node.links.stats() if "discovery_failed" in name]
