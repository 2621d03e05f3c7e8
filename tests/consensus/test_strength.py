"""A certificate's strength is what PROTOCOL says it is, over every history of small networks."""

import pytest

from consensus.quorum import base_strength, chain_strength, is_quorum, is_third, quorum, strength
from tests.consensus.histories import histories


def test_thresholds_are_strict() -> None:
    assert [n for n in range(1, 10) if is_third(1, n)] == [1, 2]
    assert (is_third(3, 6), is_third(2, 6), is_third(1, 3), is_third(2, 3)) == (True, False, False, True)
    for total in range(1, 200):
        assert is_quorum(quorum(total), total)
        assert not is_quorum(quorum(total) - 1, total)


def test_all_four_of_four_withstand_two_and_three_of_four_one() -> None:
    assert strength(4, 4) == 2
    assert base_strength(4) == strength(3, 4) == 1


@pytest.mark.parametrize(("n", "faulty"), [(4, 1), (4, 2), (5, 2), (5, 3)])
def test_no_history_undoes_a_certificate_up_to_its_strength(n: int, faulty: int) -> None:
    undone_naively = 0
    for all_honest in histories(n, faulty, rounds=3, keep_prevotes=False):
        certificates: dict[tuple[int, bytes], tuple[int, int]] = {}
        for honest in all_honest:
            for round_, value in honest.precommits:
                diverged = any(r < round_ and v != value for r, v in honest.precommits)
                weight, speaks = certificates.get((round_, value), (faulty, faulty))
                certificates[round_, value] = (weight + 1, speaks + (not diverged))
        final = {place: weights for place, weights in certificates.items() if is_quorum(weights[0], n)}
        for (_, value), (weight, speaks) in final.items():
            if any(other != value for _, other in final):
                assert faulty > strength(speaks, n), all_honest
                undone_naively += faulty <= strength(weight, n)
    if (n, faulty) == (4, 2):
        assert undone_naively > 0, "without `diverged` the claim is false"


def test_a_full_child_strengthens_its_parent_but_not_by_those_who_diverged_there() -> None:
    powers = {h: {b"1": 1, b"2": 1, b"3": 1, b"4": 1} for h in (1, 2)}
    least = {b"1": 0, b"2": 0, b"3": 0}
    full = {**least, b"4": 0}
    assert chain_strength(0, 1, powers, {1: [least]}) == 1
    assert chain_strength(0, 1, powers, {1: [least], 2: [full]}) == 2
    assert chain_strength(0, 1, powers, {1: [least], 2: [{**full, b"4": 1}]}) == 1
    assert chain_strength(0, 2, powers, {1: [least], 2: [{**full, b"4": 1}]}) == 1
    assert chain_strength(1, 2, powers, {2: [{**full, b"4": 1}]}) == 2
    assert chain_strength(0, 2, powers, {1: [full]}) == -1, "height 2 is not final"


@pytest.mark.parametrize(("n", "faulty", "rounds"), [(4, 1, 2), (4, 2, 2), (5, 3, 2)])
def test_no_history_undoes_a_parent_up_to_the_strength_of_its_child(n: int, faulty: int, rounds: int) -> None:
    for all_honest in histories(n, faulty, rounds, keep_prevotes=False):
        weights: dict[tuple[int, bytes], int] = {}
        for honest in all_honest:
            for place in honest.precommits:
                weights[place] = weights.get(place, faulty) + 1
        values = {value for (_, value), weight in weights.items() if is_quorum(weight, n)}
        for decided in values if len(values) > 1 else ():
            # All who may have decided it precommit its child; those that strayed below do not speak for it.
            speaking = faulty + sum(all(v == decided for _, v in honest.precommits) for honest in all_honest)
            assert faulty > strength(speaking, n), all_honest
