"""Validator sets: one order, one hash, and everybody's turn."""

from collections import Counter

import pytest

from consensus.validators import ROTATION_MAX, ValidatorSet


def key(i: int) -> bytes:
    return i.to_bytes(32, "big")


def test_equal_validators_all_propose_once_over_heights_and_over_rounds() -> None:
    validators = ValidatorSet((key(i), 7) for i in range(5))
    assert len({validators.proposer(height, 0) for height in range(11, 16)}) == 5
    assert len({validators.proposer(11, round_) for round_ in range(5)}) == 5


def test_turns_are_as_frequent_as_power_and_nobody_is_left_out() -> None:
    turns = Counter(ValidatorSet([(key(1), 6), (key(2), 3), (key(3), 1)]).proposer(h, 0) for h in range(100))
    assert turns == {key(1): 60, key(2): 30, key(3): 10}
    whale = ValidatorSet([(key(0), 2**59), *((key(i), 1) for i in range(1, 256))])
    proposers = {whale.proposer(height, 0) for height in range(ROTATION_MAX + 256)}
    assert len(proposers) == 256


def test_order_of_members_does_not_matter_and_power_does() -> None:
    first, second = ValidatorSet([(key(1), 1), (key(2), 2)]), ValidatorSet([(key(2), 2), (key(1), 1)])
    assert (first, first.hash) == (second, second.hash)
    assert ValidatorSet.of(first.pairs()) == first
    assert ValidatorSet([(key(1), 2), (key(2), 2)]).hash != first.hash


@pytest.mark.parametrize(
    "members",
    [[], [(key(1), 0)], [(key(1), 1), (key(1), 2)], [(key(1), 2**60), (key(2), 1)], [(b"short", 1)]],
)
def test_what_is_no_set_is_refused(members: list[tuple[bytes, int]]) -> None:
    with pytest.raises(ValueError, match=r"validator|powers"):
        ValidatorSet(members)
