"""What a line does to packets, on a clock of the test's own."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from prsm_node.chaos.finality import Histogram, Trouble
from prsm_node.chaos.shaping import WAITING_BYTES_MAX, Condition, Line

LOSSY = st.builds(
    Condition,
    delay_ms=st.floats(0, 500),
    jitter_ms=st.floats(0, 500),
    loss=st.floats(0, 1),
    rate_kbit=st.one_of(st.just(0.0), st.floats(1, 10_000)),
)


@given(LOSSY, st.lists(st.tuples(st.floats(0, 1), st.integers(1, 1_500)), max_size=50), st.integers(0, 99))
def test_packets_keep_their_order_and_never_leave_before_they_came(
    condition: Condition, packets: list[tuple[float, int]], seed: int
) -> None:
    line, random, now, last = Line(), Random(seed), 0.0, 0.0
    line.condition = condition
    for gap, size in packets:
        now += gap
        at = line.leaves_at(size, now, random)
        if at is not None:
            assert at >= max(now + condition.delay_ms / 1_000 - 1e-9, last)
            last = at


def test_a_rate_spaces_packets_by_their_size() -> None:
    line = Line()
    line.condition = Condition(rate_kbit=80)
    times = [line.leaves_at(1_000, 0.0, Random(0)) for _ in range(3)]
    assert times == [0.1, 0.2, 0.30000000000000004]


def test_a_cut_and_a_full_line_lose_what_comes() -> None:
    line = Line()
    line.condition = Condition(cut=True)
    assert line.leaves_at(100, 0.0, Random(0)) is None
    line.condition = Condition(delay_ms=100)
    line.waiting_bytes = WAITING_BYTES_MAX - 50
    assert line.leaves_at(100, 0.0, Random(0)) is None
    assert line.leaves_at(50, 0.0, Random(0)) == 0.1


def test_loss_is_the_share_that_was_asked_for() -> None:
    line, random = Line(), Random(1)
    line.condition = Condition(loss=0.2)
    lost = sum(line.leaves_at(100, 0.0, random) is None for _ in range(10_000))
    assert 1_800 < lost < 2_200


@given(st.lists(st.floats(0.2, 60_000), min_size=1, max_size=200))
def test_percentiles_are_within_two_percent(samples: list[float]) -> None:
    histogram = Histogram()
    for ms in samples:
        histogram.add(ms)
    found = histogram.distribution()
    ordered = sorted(samples)
    median = ordered[(len(ordered) + 1) // 2 - 1]
    assert found.samples == len(samples)
    assert found.p50_ms is not None
    assert median * 0.98 - 0.1 <= found.p50_ms <= median * 1.02 + 0.1


def test_trouble_touches_what_was_under_way_in_it() -> None:
    trouble = Trouble()
    assert not trouble.touched(1.0)
    trouble.begin(2.0)
    assert trouble.touched(1.0)
    trouble.end(3.0)
    assert trouble.touched(2.5)
    assert not trouble.touched(3.5)
