"""What peers tell of others: implausible addresses are refused, and nobody aims us at a stranger."""

from itertools import pairwise

import pytest
import trio

from prsm_node.network.address_book import ADDRESSES_PER_NODE_MAX, NEW_PLACES
from prsm_node.network.addresses import Address, parse_address
from prsm_node.network.config import NetworkConfig
from prsm_node.network.discovery import Discovery
from prsm_node.network.rumours import (
    DIALS_AFTER_LINK,
    NODES_PER_TELLER_MAX,
    PLACE_WAIT_MAX_S,
    PLACES_MAX,
    TELLERS_MAX,
    TOLD_DIALS_BURST,
    TOLD_DIALS_PER_S,
    Rumours,
    implausible,
)
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import PEERS_MAX
from prsm_node.wire.stream import on_stream
from tests.network.nodes import Node, Rogue, config, running, until

TELLER = b"T" * 32


def at(index: int, host: str = "192.0.2.1", port: int = 7_100) -> Address:
    return Address("ip4", host, port, index.to_bytes(32, "big"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/ip4/203.0.113.7/tcp/7100", None),
        ("/ip4/10.0.0.7/tcp/7100", None),
        ("/ip6/2001:db8::7/tcp/7100", None),
        ("/dns4/node.example/tcp/7100", None),
        ("/ip4/203.0.113.7/tcp/0", "no_port"),
        ("/ip4/224.0.0.1/tcp/7100", "not_unicast"),
        ("/ip4/255.255.255.255/tcp/7100", "not_unicast"),
        ("/ip4/0.0.0.0/tcp/7100", "not_unicast"),
        ("/ip6/::/tcp/7100", "not_unicast"),
        ("/ip6/ff02::1/tcp/7100", "not_unicast"),
        ("/ip6/::ffff:224.0.0.1/tcp/7100", "not_unicast"),
        ("/ip4/169.254.169.254/tcp/80", "link_local"),
        ("/ip6/fe80::1/tcp/7100", "link_local"),
        ("/ip4/127.0.0.1/tcp/7100", "loopback"),
        ("/ip6/::1/tcp/7100", "loopback"),
        ("/ip6/::ffff:127.0.0.1/tcp/7100", "loopback"),
        ("/dns4/LOCALHOST./tcp/7100", "loopback"),
        ("/dns/a.localhost/tcp/7100", "loopback"),
    ],
)
def test_only_addresses_where_somebody_else_can_be_are_plausible(text: str, reason: str | None) -> None:
    assert implausible(parse_address(text), teller_is_local=False) == reason
    if reason == "loopback":
        assert implausible(parse_address(text), teller_is_local=True) is None


def test_one_liar_aims_us_at_no_more_than_its_rate_and_does_not_slow_others() -> None:
    rumours = Rumours(NetworkConfig())
    dials = sum(
        rumours.may_dial(at(second * 10 + n, f"198.51.{second // 250}.{second % 250}", n + 1), TELLER, second)
        for second in range(600)
        for n in range(10)
    )
    assert dials <= TOLD_DIALS_BURST + 600 * TOLD_DIALS_PER_S
    assert dials >= TOLD_DIALS_BURST
    assert rumours.may_dial(at(1), b"another", 600.0)


def test_a_place_that_never_answers_waits_longer_each_time_whatever_keys_are_said_to_live_there() -> None:
    rumours, dialled, now = Rumours(NetworkConfig(redial_min_s=0.2)), [], 0.0
    for index in range(40_000):
        if rumours.may_dial(at(index), index.to_bytes(32, "big"), now):
            dialled.append(now)
        now += 0.1
    waits = [round(later - earlier) for earlier, later in pairwise(dialled)]
    assert waits == sorted(waits)
    assert waits[-1] >= PLACE_WAIT_MAX_S
    assert len(dialled) < 20, "of 40,000 tellings in over an hour"


def test_a_place_that_was_reached_is_dialled_freely_until_it_fails_again_and_again() -> None:
    rumours = Rumours(NetworkConfig())
    for n in range(TOLD_DIALS_BURST):
        assert rumours.may_dial(at(n, port=n + 1), TELLER, 0.0)
    assert not rumours.may_dial(at(99, "198.51.100.1"), TELLER, 0.0)
    rumours.reached(at(99, "198.51.100.1"))
    free = sum(rumours.may_dial(at(99, "198.51.100.1"), TELLER, 0.0) for _ in range(100))
    assert free == DIALS_AFTER_LINK


def test_what_is_remembered_of_places_and_tellers_is_bounded() -> None:
    rumours = Rumours(NetworkConfig())
    for n in range(PLACES_MAX + 50):
        rumours.may_dial(at(n, f"198.51.{n // 250}.{n % 250}"), n.to_bytes(32, "big"), 0.0)
    assert len(rumours._places) == PLACES_MAX
    assert len(rumours._tellers) == TELLERS_MAX


async def test_a_peer_that_tells_of_thousands_is_heard_within_bounds_and_few_are_dialled() -> None:
    async with running() as nursery:
        node = Node(1, config(heartbeat_s=5, exchange_peers=True, peer_exchange_s=1e6, dial_s=0.2))
        Discovery(node.links)
        node.addresses = await nursery.start(node.links.run)
        listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        victim_port = listener.socket.getsockname()[1]
        async with Rogue(9).linked(node) as rogue, trio.open_nursery() as victims:
            dials: list[None] = []

            async def hang_up(stream: trio.SocketStream) -> None:
                dials.append(None)
                await stream.aclose()

            victims.start_soon(trio.serve_listeners, hang_up, [listener])
            for message in range(4):
                base = 1_000 + message * PEERS_MAX
                ports = [victim_port if message == 0 else 20_000 + base + n for n in range(PEERS_MAX - 2)]
                told = [str(at(base + n, "127.0.0.1", port)) for n, port in enumerate(ports)]
                told += [str(at(base + 62, "239.1.1.1")), str(at(base + 63, "192.0.2.1", 0))]
                await rogue.write(on_stream(rogue.seal(Kind.PEERS, tuple(told))))
                # A draw decides whether the next ones push the place out of the book: it is dialled first.
                await until(lambda: dials)
            await until(lambda: node.links.counters["addresses_refused.not_unicast"] == 4)
            assert node.links.counters["addresses_refused.no_port"] == 4
            assert node.links.counters["addresses_refused.too_many_of_one_peer"] > 62
            assert NEW_PLACES < len(node.links.book) <= NODES_PER_TELLER_MAX
            await trio.sleep(1.5)
            # Of one place: at 0, 0.2, 0.6, 1.4 s.
            assert len(dials) <= 6, "62 keys, one place"
            victims.cancel_scope.cancel()


async def test_a_node_that_listens_everywhere_is_known_by_where_we_see_it() -> None:
    async with running() as nursery:
        first = Node(1, config())
        first.addresses = await nursery.start(first.links.run)
        second = Node(2, config(*first.addresses, listen=("/ip4/0.0.0.0/tcp/0",)))
        second.addresses = await nursery.start(second.links.run)
        await until(first.links.links)
        (known,) = first.links.book.addresses(second.links.node_key)
        assert (known.host, known.port) == ("127.0.0.1", second.links.listen[0].port)
        assert len(first.links.book.addresses(second.links.node_key)) <= ADDRESSES_PER_NODE_MAX
