"""models/live.py said anew: what one faulty validator of four can do to a network that is already calm."""

from itertools import product

import pytest

from tests.consensus.agreement.timely_rounds import (
    Spread,
    Standing,
    after_a_round,
    locked_apart,
    without_unused,
)

LOCKS = (None, (0, 0), (1, 1), (2, 2))
"""One value a round: less than a third can't make two polkas in one."""


def rounds_lost(start: Standing, bound: int) -> int:
    """How many rounds can pass without a decision, whatever the faulty one does; at most `bound`."""
    standings = {start}
    for lost in range(bound):
        standings = {after for before in standings for after in after_a_round(before, Spread.FORWARDED)}
        if not standings:
            return lost
    return bound


def test_with_polkas_forwarded_at_most_three_rounds_are_lost_whatever_was_locked_before() -> None:
    starts = {locked_apart(*locks, turn=turn) for locks in product(LOCKS, repeat=3) for turn in range(4)}
    assert max(rounds_lost(start, bound=6) for start in starts) == 3


@pytest.mark.parametrize("spread", [Spread.NOT, Spread.WITH_PROPOSALS])
def test_without_forwarding_one_of_four_keeps_the_others_apart_for_ever(spread: Spread) -> None:
    start = locked_apart((1, 1), (0, 0), None, turn=2)
    path: list[Standing] = []
    ended: set[Standing] = set()

    def comes_back(standing: Standing) -> bool:
        """Whether a run from here returns to a state that it was in."""
        if standing in path:
            return True
        if standing in ended:
            return False
        path.append(standing)
        if any(
            comes_back(without_unused(after)) for after in sorted(after_a_round(standing, spread), key=repr)
        ):
            return True
        ended.add(path.pop())
        return False

    assert comes_back(start)
