"""Lanes are shared by power, alike on every machine, and a set change moves few senders."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from consensus.dissemination.rendezvous import lane_of, ranking

KEYS = [bytes([number]) * 32 for number in range(1, 6)]
SENDERS = [b"\x01" + number.to_bytes(32, "big") for number in range(4_000)]


def test_equal_powers_get_equal_shares() -> None:
    shares = Counter(lane_of(sender, [(key, 7) for key in KEYS[:4]]) for sender in SENDERS)
    assert all(900 < share < 1_100 for share in shares.values()), shares


def test_shares_follow_powers() -> None:
    powers = [(KEYS[0], 1), (KEYS[1], 2), (KEYS[2], 5)]
    shares = Counter(lane_of(sender, powers) for sender in SENDERS)
    for key, power in powers:
        assert abs(shares[key] - 500 * power) < 120, shares


def test_a_leaver_moves_only_its_own_senders_and_each_to_its_next_lane() -> None:
    powers = [(key, power) for power, key in enumerate(KEYS, start=1)]
    without = powers[:2] + powers[3:]
    for sender in SENDERS[:1_000]:
        ranks = ranking(sender, powers)
        assert ranking(sender, without) == tuple(key for key in ranks if key != KEYS[2])


def test_more_power_only_draws_senders_in() -> None:
    before = [(key, 3) for key in KEYS]
    after = [(KEYS[0], 4), *before[1:]]
    for sender in SENDERS[:1_000]:
        was, now = lane_of(sender, before), lane_of(sender, after)
        assert now in (was, KEYS[0])


@given(st.binary(min_size=33, max_size=33), st.lists(st.integers(1, 2**62), min_size=1, max_size=5))
def test_every_validator_is_ranked_once_whatever_the_order_of_the_set(
    sender: bytes, powers: list[int]
) -> None:
    members = list(zip(KEYS, powers, strict=False))
    ranks = ranking(sender, members)
    assert sorted(ranks) == [key for key, _ in members]
    assert ranking(sender, members[::-1]) == ranks
    assert lane_of(sender, members) == ranks[0]


def test_the_ranking_is_fixed_for_all_machines() -> None:
    powers = [(key, power * 1_000) for power, key in enumerate(KEYS, start=1)]
    firsts = "".join(str(KEYS.index(lane_of(sender, powers))) for sender in SENDERS[:40])
    assert firsts == "4232421213132234413424423344222444223244"
