"""What the recovery bench plays, and that a bound holds for it."""

import math
from itertools import pairwise

import pytest

from prsm_node.bench.recovery import GAP_S, SECONDS_MIN, faults, recovery
from prsm_node.bench.report import BenchFailed


def test_whole_it_kills_each_node_and_cuts_for_each_time() -> None:
    played = list(faults(4, math.inf))
    assert sorted(fault.nodes[0] for fault in played if fault.kind == "kill") == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [fault.for_s for fault in played if fault.kind == "partition"] == [2, 5, 8, 12, 20]


@pytest.mark.parametrize("seconds", [SECONDS_MIN, 90.0, 150.0])
def test_within_a_bound_there_are_fewer_of_either_kind_and_each_has_time_to_recover(seconds: float) -> None:
    played = list(faults(4, seconds * 2 / 3))
    assert {fault.kind for fault in played} == {"kill", "partition"}
    assert played[-1].at_s + played[-1].for_s + GAP_S <= seconds * 2 / 3
    for fault, following in pairwise(played):
        assert following.at_s == fault.at_s + fault.for_s + GAP_S


def test_a_bound_that_nothing_fits_into_is_refused() -> None:
    with pytest.raises(BenchFailed, match="59 s are too few for a kill, a cut and lone transfers; choose 60"):
        recovery(4, 200, 59.0)
