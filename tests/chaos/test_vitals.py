"""What is said of memory: how it grew once it was warm, whoever was killed on the way."""

import os

from prsm_node.chaos.vitals import SERIES_MAX, Vitals


def watched(megabytes: list[float], seconds: float = 3_600.0) -> Vitals:
    vitals = Vitals(["node0"], seconds)
    step = seconds / len(megabytes)
    vitals._memory[0] = [(place * step, mb) for place, mb in enumerate(megabytes)]
    return vitals


def test_growth_is_counted_from_the_end_of_the_warming_up() -> None:
    (memory,) = watched([50.0 + place for place in range(60)] + [100.0] * 300).memory()
    assert (memory.warm_mb, memory.last_mb, memory.growth_percent) == (100.0, 100.0, 0.0)
    assert len(memory.series) <= SERIES_MAX


def test_who_was_killed_lately_hides_no_growth() -> None:
    leaking = [100.0 + place / 2 for place in range(360)]
    leaking[-40:-20] = [60.0] * 20
    (memory,) = watched(leaking).memory()
    assert memory.growth_percent is not None
    assert memory.growth_percent > 50


def test_of_a_short_run_nothing_is_said() -> None:
    (memory,) = watched([100.0] * 8, seconds=20.0).memory()
    assert memory.growth_percent is None


def test_this_process_is_measured_and_one_that_is_down_is_not() -> None:
    vitals = Vitals(["here", "down"], 60.0)
    vitals.sample(0.0, (1, 0), (os.getpid(), None))
    here, down = vitals.memory()
    assert here.series[0][1] > 5
    assert down.series == ()
    assert vitals.heights == [(0.0, (1, 0))]
