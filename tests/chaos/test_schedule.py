"""A scenario and a seed give one schedule, within bounds; scenarios are read or refused in a sentence."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsm_node.chaos.scenario import Shape, load, scenario_of, shipped
from prsm_node.chaos.schedule import cuts, schedule
from prsm_node.errors import OperatorError


@given(
    name=st.sampled_from(shipped()),
    seed=st.integers(0, 2**32),
    nodes=st.integers(1, 10),
    seconds=st.floats(10, 600),
)
def test_faults_come_one_after_another_and_leave_time_to_recover(
    name: str, seed: int, nodes: int, seconds: float
) -> None:
    drawn = schedule(load(name), seed, nodes, seconds)
    assert drawn == schedule(load(name), seed, nodes, seconds), "one seed, one schedule"
    ended = 0.0
    for fault in drawn:
        assert fault.at_s >= ended
        ended = fault.at_s + fault.for_s
        assert len(fault.nodes) <= 1
        assert all(0 <= node < nodes for node in fault.nodes)
    assert ended <= seconds - min(8.0, seconds / 4) + 0.1


def reach(pairs: tuple[tuple[int, int], ...], nodes: int) -> dict[int, set[int]]:
    """Return whom each node still hears."""
    return {b: {a for a in range(nodes) if a != b and (a, b) not in pairs} for b in range(nodes)}


@pytest.mark.parametrize(
    ("shape", "heard"),
    [
        ("half", {0: {1}, 1: {0}, 2: {3}, 3: {2}}),
        ("one", {0: set(), 1: {2, 3}, 2: {1, 3}, 3: {1, 2}}),
        ("ring", {0: {1, 3}, 1: {0, 2}, 2: {1, 3}, 3: {0, 2}}),
        ("bridge", {0: {1, 2, 3}, 1: {0}, 2: {0, 3}, 3: {0, 2}}),
        ("one_way", {0: {1, 2, 3}, 1: {2, 3}, 2: {1, 3}, 3: {1, 2}}),
    ],
)
def test_who_hears_whom_in_each_shape(shape: Shape, heard: dict[int, set[int]]) -> None:
    assert reach(cuts(shape, [0, 1, 2, 3]), 4) == heard


def test_shipped_scenarios_say_what_they_are() -> None:
    assert set(shipped()) == {"kill", "pause", "partition", "slow", "loss", "mixed"}
    assert all(load(name).about for name in shipped())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ({"faults": []}, "faults"),
        ({"faults": [{"kind": "drown", "for_s": [1, 2]}]}, "drown"),
        ({"faults": [{"kind": "kill", "for_s": [2, 1]}]}, "smaller number first"),
        ({"faults": [{"kind": "kill", "for_s": [1, 2], "wieght": 2}]}, "wieght"),
        ({"faults": [{"kind": "slow", "for_s": [1, 2]}]}, "say how slow"),
        ({"faults": [{"kind": "slow", "for_s": [1, 2], "links": {"loss": 1.5}}]}, "loss"),
    ],
)
def test_what_is_no_scenario_is_refused_by_name(text: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        scenario_of(text)


def test_a_scenario_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="kill, loss, mixed"):
        load("nothing")
    broken = tmp_path / "broken.toml"
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(OperatorError, match="broken"):
        load(str(broken))
