"""An attacker with more addresses and connections than we have places does not become all that we see.

Pure: the address book, the places for links and the lobby by themselves, under seeded randomness.
"""

import random
from itertools import count

from prsm_node.network.address_book import (
    DUE_MAX,
    LASTING_S,
    NEW_BUCKETS,
    NEW_BUCKETS_A_SOURCE,
    NEW_PLACES,
    NODES_MAX,
    OUTBOUND_PER_GROUP,
    TRIED_BUCKETS_A_GROUP,
    TRIED_PLACES,
    AddressBook,
)
from prsm_node.network.addresses import Address
from prsm_node.network.config import NetworkConfig
from prsm_node.network.groups import LOOPBACK, group_of
from prsm_node.network.lobby import ARRIVALS_BURST, ARRIVALS_PER_S, Arrivals, Lobby
from prsm_node.network.slots import Holder, gives_way, reserved

ATTACKER = "203.0.0.0/16"
LINKS_MAX = NetworkConfig().links_max


def node(index: int, host: str, port: int = 7_100) -> Address:
    return Address("ip4", host, port, index.to_bytes(32, "big"))


def honest(index: int) -> Address:
    """One in each /16."""
    return node(1_000_000 + index, f"{20 + index % 100}.{index // 100}.7.7")


def evil(index: int) -> Address:
    """All in one /16."""
    return node(2_000_000 + index, f"203.0.{index // 250 % 250}.{index % 250}", 1 + index % 60_000)


def book(seed: int = 1) -> AddressBook:
    return AddressBook(bytes(32), NetworkConfig(), random.Random(seed))


def is_evil(address: Address) -> bool:
    return group_of(address) == ATTACKER


def test_twenty_thousand_addresses_of_one_group_told_by_it_take_twelve_places() -> None:
    ours = book()
    kept = sum(ours.learn(evil(index), source=ATTACKER) for index in range(20_000))
    assert kept == NEW_PLACES == 12
    assert sum(ours.learn(honest(index), source=f"{index}") for index in range(100)) == 100


def test_one_group_that_tells_of_nodes_everywhere_takes_an_eighth_of_the_new_places() -> None:
    ours = book()
    lies = sum(
        ours.learn(node(index, f"{20 + index % 200}.{index // 200 % 250}.1.1"), source=ATTACKER)
        for index in range(20_000)
    )
    assert lies <= NEW_PLACES * NEW_BUCKETS_A_SOURCE == NEW_PLACES * NEW_BUCKETS // 8
    learnt = sum(ours.learn(honest(index), source=f"{index % 50}") for index in range(200))
    assert learnt > 160, f"{learnt} of 200 honest ones found a place"


def test_one_group_holds_at_most_an_eighth_of_the_tried_places_and_pushes_none_out_that_works() -> None:
    ours = book()
    for index in range(150):
        ours.learn(honest(index), source=f"{index}")
        ours.reached(honest(index))
    before = _tried(ours)
    assert before > 120
    for index in range(5_000):
        ours.learn(evil(index), source=f"{index}")  # told from everywhere
        ours.reached(evil(index))
    assert _tried(ours) - before <= TRIED_PLACES * TRIED_BUCKETS_A_GROUP == 32
    assert sum(bool(ours.addresses(honest(index).node_key or b"")) for index in range(150)) == 150


def _tried(ours: AddressBook) -> int:
    return sum(found.tried for found in ours._nodes.values())


def test_of_what_is_dialled_on_hearsay_two_lie_in_one_group_however_many_are_known() -> None:
    ours = book()
    for index in range(10_000):
        ours.learn(evil(index), source=f"{index}")
    told = len(ours)
    for index in range(20):
        ours.learn(honest(index), source=f"h{index}")
    dialled: list[Address] = []
    for _ in range(50):
        linked = {address.node_key or b"" for address in dialled}
        dialled += ours.due(0.0, linked, True, [group_of(address) for address in dialled])
    assert told > NODES_MAX // 3
    assert sum(map(is_evil, dialled)) == OUTBOUND_PER_GROUP
    assert sum(not is_evil(address) for address in dialled) >= 15


def test_each_dial_is_drawn_and_bootstrap_nodes_and_anchors_go_first() -> None:
    ours = book()
    for index in range(200):
        ours.learn(honest(index), source=f"{index}")
    ours.learn(node(5, "198.51.100.5"), anchor=True)
    ours.learn(node(6, "198.51.100.6"), bootstrap=True)
    first = ours.due(0.0, set(), True)
    assert [address.host for address in first[:2]] == ["198.51.100.6", "198.51.100.5"]
    assert len(first) == 2 + DUE_MAX
    assert [a.host for a in ours.due(0.0, set(), False)] == ["198.51.100.6", "198.51.100.5"], "without room"
    other = book(seed=2)
    for index in range(200):
        other.learn(honest(index), source=f"{index}")
    assert other.due(0.0, set(), True) != first[2:]


def test_a_local_network_of_forty_on_one_machine_is_known_and_dialled_whole() -> None:
    ours = book()
    nodes = [node(index, "127.0.0.1", 7_000 + index) for index in range(1, 41)]
    for address in nodes:
        assert ours.learn(address, source=LOOPBACK)
    dialled: set[bytes] = set()
    for _ in range(5):
        dialled |= {address.node_key or b"" for address in ours.due(0.0, dialled, True)}
    assert len(dialled) == 40


def test_who_tells_where_a_node_is_that_we_reached_is_not_believed_but_the_node_itself_is() -> None:
    ours = book()
    ours.learn(honest(1), source="s")
    ours.reached(honest(1))
    key = honest(1).node_key or b""
    assert not ours.learn(Address("ip4", "203.0.1.1", 1, key), teller=b"e" * 32, source=ATTACKER)
    assert ours.learn(Address("ip4", "20.9.9.9", 1, key), teller=key, source="s")


def test_a_tried_node_that_fails_for_long_is_kept_and_a_rumour_is_not() -> None:
    ours, now = book(), 0.0
    ours.learn(honest(1), source="s")
    ours.learn(honest(2), source="s")
    ours.reached(honest(1))
    for _ in range(30):
        for address in (honest(1), honest(2)):
            ours.dialling(address.node_key or b"", now)
            ours.unlinked(address.node_key or b"", now, LASTING_S / 2)
        now += 60
    assert len(ours) == 1
    assert ours.due(now, set(), True) == [honest(1)]


def crowded(attackers: int, friends: int) -> list[Holder]:
    """Who came: friends in groups of their own in between the attackers."""
    numbers = count(1)
    holders: list[Holder] = []
    arrivals = [f"20.{index}.0.0/16" for index in range(friends)] + [ATTACKER] * attackers
    random.Random(3).shuffle(arrivals)
    for group in arrivals:
        newcomer = Holder(next(numbers), group)
        if len(holders) >= LINKS_MAX - reserved(LINKS_MAX):
            loser = gives_way(holders, newcomer)
            if loser is None:
                continue
            holders.remove(loser)
        holders.append(newcomer)
    return holders


def test_a_thousand_links_of_one_group_leave_every_one_of_forty_friends_a_place() -> None:
    holders = crowded(attackers=1_000, friends=40)
    friends = [holder for holder in holders if holder.group != ATTACKER]
    assert len(friends) == 40
    assert len(holders) == LINKS_MAX - reserved(LINKS_MAX) == 48
    assert reserved(LINKS_MAX) == 16, "links that we dial ourselves, whatever comes"


def test_an_attacker_with_a_hundred_groups_pushes_out_none_of_the_oldest_groups_nor_the_older_half() -> None:
    friends = [Holder(index, f"20.{index}.0.0/16", 0.2) for index in range(1, 49)]
    holders = list(friends)
    for index in range(2_000):
        newcomer = Holder(100 + index, f"203.{index % 100}.0.0/16", 0.3)
        loser = gives_way(holders, newcomer)
        if loser is not None:
            holders.remove(loser)
            holders.append(newcomer)
    left = [holder for holder in holders if holder in friends]
    assert len(left) >= 24, f"{len(left)} of 48 old links stand"


def test_who_is_nearest_keeps_its_place_and_who_must_get_in_gets_it() -> None:
    near = [Holder(index, ATTACKER, 0.001 * index) for index in range(2, 6)]
    far = [Holder(index, ATTACKER, 1.0) for index in range(6, 20)]
    eldest = Holder(1, ATTACKER, 1.0)
    loser = gives_way([eldest, *near, *far], Holder(99, "20.1.0.0/16"))
    assert loser == far[-1]
    assert gives_way([eldest], Holder(99, "20.1.0.0/16")) is None
    assert gives_way([eldest], None) == eldest
    assert gives_way([], None) is None


def test_a_crowd_in_the_lobby_pushes_out_itself() -> None:
    lobby: Lobby[int] = Lobby(16)
    for guest in range(3):
        lobby.enter(guest, f"20.{guest}.0.0/16")
    for guest in range(100, 1_100):
        leaves = lobby.enter(guest, ATTACKER)
        assert leaves is None or leaves >= 100
    assert all(lobby.leave(guest) for guest in range(3))
    assert len(lobby) == 13


def test_arrivals_of_a_group_are_bounded_and_others_do_not_suffer() -> None:
    arrivals = Arrivals()
    came = sum(arrivals.admit(ATTACKER, at / 100) for at in range(6_000))
    assert came <= ARRIVALS_BURST + 60 * ARRIVALS_PER_S
    assert arrivals.admit("20.1.0.0/16", 60.0)
    assert sum(arrivals.admit(LOOPBACK, 0.0) for _ in range(200)) == 200
