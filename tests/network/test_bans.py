"""Who is banned, for how long, and what becomes of it across restarts: pure, under clocks of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsm_node.network import bans
from prsm_node.network.addresses import Address, peer_id_of
from prsm_node.network.bans import ADDRESSES_PER_GROUP, KEYS_PER_ADDRESS, Ban, Bans
from prsm_node.network.groups import LOOPBACK, NOWHERE, group_of, group_of_host, is_shared

WALL_MS = 1_800_000_000_000


def key(index: int) -> bytes:
    return index.to_bytes(32, "big")


def ban(
    of: Bans, index: int, host: str = "203.0.113.7", now: float = 0.0, validator: bool = False
) -> list[Ban]:
    return of.ban_node(key(index), "wrong_signature", host, validator, now, WALL_MS + int(now * 1000))


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("203.0.113.7", "203.0.0.0/16"),
        ("2001:db8:1::7", "2001:db8::/32"),
        ("::ffff:203.0.113.7", "203.0.0.0/16"),
        ("2002:cb00:7107::1", "203.0.0.0/16"),  # 6to4 of 203.0.113.7
        ("10.1.2.3", "10.1.2.3"),
        ("172.17.0.2", "172.17.0.2"),
        ("fd00::1", "fd00::1"),
        ("127.0.0.1", LOOPBACK),
        ("::1", LOOPBACK),
        ("", NOWHERE),
    ],
)
def test_an_address_lies_in_the_group_of_who_can_hold_it(host: str, group: str) -> None:
    assert group_of_host(host) == group
    assert is_shared(group) == ("/" in group)


def test_names_below_one_domain_are_one_group() -> None:
    assert group_of(Address("dns4", "a.b.Example.org.", 1)) == group_of(Address("dns", "c.example.org", 2))
    assert is_shared(group_of(Address("dns", "example.org", 1)))
    assert group_of(Address("dns", "node.localhost", 1)) == LOOPBACK


def test_a_ban_ends_and_the_next_is_four_times_as_long_up_to_a_day() -> None:
    record, now, lengths = Bans(ban_s=60), 0.0, []
    for _ in range(8):
        (made,) = ban(record, 1, "", now)
        lengths.append((made.until_ms - made.since_ms) / 1000)
        now += lengths[-1]
        assert record.node_banned(key(1), now - 0.1)
        assert not record.node_banned(key(1), now + 0.1)
    assert lengths == [60, 240, 960, 3_840, 15_360, 61_440, 86_400, 86_400]
    (made,) = ban(record, 1, "", now + bans.MEMORY_S + 1)
    assert made.until_ms - made.since_ms == 60_000, "a day of peace"


def test_keys_banned_from_one_address_ban_it_and_addresses_of_one_group_ban_that() -> None:
    record = Bans(ban_s=60)
    for address in range(ADDRESSES_PER_GROUP):
        host = f"203.0.113.{address}"
        for number in range(KEYS_PER_ADDRESS):
            assert not record.place_banned(host, 0.0)
            ban(record, 100 * address + number, host)
        assert record.place_banned(host, 0.0)
    assert record.place_banned("203.0.200.200", 0.0), "the group"
    assert not record.place_banned("198.51.100.1", 0.0)
    assert not record.place_banned("203.0.113.1", 61.0)
    assert {found.who for found in record.listed(0.0)} >= {"203.0.0.0/16", "203.0.113.0"}


def test_an_ipv6_line_is_one_address_however_many_it_has_and_a_whole_provider_takes_sites() -> None:
    record, number = Bans(ban_s=60), 0

    def attack(host: str) -> None:
        nonlocal number
        for _ in range(KEYS_PER_ADDRESS):
            number += 1
            ban(record, number, host.replace("*", f"{number:x}"))

    for _ in range(3 * ADDRESSES_PER_GROUP):
        attack("2001:db8:1:1::*")
    assert record.place_banned("2001:db8:1:1:ffff::9", 0.0), "the line"
    assert not record.place_banned("2001:db8:1:2::1", 0.0), "a neighbour"
    for line in range(2, 2 + ADDRESSES_PER_GROUP):
        attack(f"2001:db8:1:{line}::*")
    assert record.place_banned("2001:db8:1:ffff::1", 0.0), "the site"
    assert not record.place_banned("2001:db8:2::1", 0.0), "another customer of that provider"
    for site in range(2, 1 + ADDRESSES_PER_GROUP):
        for line in range(ADDRESSES_PER_GROUP):
            assert not record.place_banned("2001:db8:ffff::1", 0.0)
            attack(f"2001:db8:{site}:{line}::*")
    assert record.place_banned("2001:db8:ffff::1", 0.0), "the provider"


def test_one_ipv4_address_is_one_whichever_way_it_comes() -> None:
    record = Bans(ban_s=60)
    for number in range(KEYS_PER_ADDRESS):
        ban(record, number, ("203.0.113.7", "::ffff:203.0.113.7")[number % 2])
    assert record.place_banned("203.0.113.7", 0.0)
    assert record.place_banned("::ffff:203.0.113.7", 0.0)
    assert {"203.0.113.7"} < {found.who for found in record.listed(0.0)}


def test_offences_of_a_place_count_together_within_an_hour_only() -> None:
    record = Bans(ban_s=60)
    for number in range(20):
        ban(record, number, now=number * 1_800.0)
        assert not record.place_banned("203.0.113.7", number * 1_800.0), "two within an hour"


def test_neither_this_machine_nor_where_a_validator_is_nor_the_unknown_is_banned_as_a_place() -> None:
    record = Bans(ban_s=60)
    for number in range(50):
        ban(record, number, "127.0.0.1")
        ban(record, 100 + number, "")
        made = ban(record, 200 + number, "198.51.100.1", validator=True)
        assert len(made) == 1
    for host in ("127.0.0.1", "", "198.51.100.1"):
        assert not record.place_banned(host, 0.0)


def test_a_validators_bans_do_not_grow() -> None:
    record = Bans(ban_s=60)
    for turn in range(5):
        (made,) = ban(record, 1, now=turn * 100.0, validator=True)
        assert made.until_ms - made.since_ms == 60_000


def test_a_ban_that_is_lifted_is_forgotten_whole() -> None:
    record = Bans(ban_s=60)
    ban(record, 1)
    assert record.lift(peer_id_of(key(1)), 1.0)
    assert not record.node_banned(key(1), 1.0)
    assert not record.lift(peer_id_of(key(1)), 1.0)
    assert ban(record, 1)[0].offences == 1


@given(st.integers(0, 200), st.integers(-100_000, 100_000))
def test_a_restart_neither_ends_a_ban_nor_makes_it_longer_whatever_the_wall_clock_does(
    ran_s: int, jumped_s: int
) -> None:
    first = Bans(ban_s=300)
    ban(first, 1)
    again = Bans(ban_s=300)
    again.restore(first.remembered(), now=7.0, now_ms=WALL_MS + (ran_s + jumped_s) * 1000)
    left = max(0, min(300, 300 - ran_s - jumped_s))
    assert left == 0 or again.node_banned(key(1), 7.0 + left - 0.01)
    assert not again.node_banned(key(1), 7.0 + left + 0.01)
    assert not again.node_banned(key(1), 7.0 + 300.01)
    if jumped_s == 0:
        assert again.listed(7.0) == first.listed(ran_s)


def test_what_is_remembered_is_bounded_and_the_longest_bans_stay() -> None:
    record = Bans(ban_s=60)
    for _ in range(3):
        ban(record, 1, "")
    for number in range(10, bans.SUBJECTS_MAX + 100):
        ban(record, number, f"198.{18 + number // 60_000}.{number // 250 % 250}.{number % 250}", now=1.0)
    assert len(record.remembered()) == bans.SUBJECTS_MAX
    assert record.node_banned(key(1), 1.0)
    assert len(record._offenders) <= bans.PLACES_MAX
