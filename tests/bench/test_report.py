"""Figures: their form as scripts read it, and their arithmetic."""

import json

import msgspec
import pytest

from prsm_node.bench.load import LoadResult
from prsm_node.bench.report import BenchFailed, Metric, machine, percentile, report
from prsm_node.bench.throughput import kept_up


def result(**changes: object) -> LoadResult:
    kept = LoadResult(
        offered=6_000,
        seconds=6.0,
        refused={},
        final_in_time=5_900,
        final_a_second=1_000.0,
        latencies_ms=[30.0] * 5_940 + [900.0] * 60,
        lost=0,
        twice=0,
        cpu_s=0.3,
        lateness_ms=5.0,
    )
    return msgspec.structs.replace(kept, **changes)


def test_percentiles_are_samples_that_enough_others_do_not_exceed() -> None:
    ordered = [float(i) for i in range(1, 101)]
    assert [percentile(ordered, share) for share in (0.50, 0.95, 0.99)] == [50.0, 95.0, 99.0]
    assert percentile([7.0], 0.99) == 7.0


def test_a_report_has_the_form_that_scripts_read() -> None:
    metrics = {
        "submit_to_final": Metric.distribution([20.0, 30.0, 40.0], "ms"),
        "lost": Metric.single(0, "transfers", 120),
    }
    made = json.loads(msgspec.json.encode(report("throughput", metrics)))
    assert made.keys() == {"bench", "machine", "command", "metrics"}
    assert made["machine"].keys() == {"cores", "model", "memory_mb", "python", "kernel"}
    assert made["metrics"]["submit_to_final"] == {
        "value": 30.0, "unit": "ms", "samples": 3, "p50": 30.0, "p95": 40.0, "p99": 40.0
    }  # fmt: skip
    assert made["metrics"]["lost"] == {"value": 0.0, "unit": "transfers", "samples": 120}


def test_this_machine_is_named() -> None:
    assert machine().cores >= 1
    assert machine().memory_mb > 100


def test_nothing_measured_is_a_failure_and_no_figure() -> None:
    with pytest.raises(BenchFailed, match="nothing was measured"):
        Metric.distribution([], "ms")


def test_a_rate_is_kept_up_with_when_all_became_final_in_time() -> None:
    assert kept_up(result())


@pytest.mark.parametrize(
    "changes",
    [
        {"refused": {"full": 1}},
        {"lost": 1},
        {"final_in_time": 5_000},
        {"latencies_ms": [30.0] * 5_939 + [1_500.0] * 61},
        {"latencies_ms": []},
    ],
)
def test_a_rate_is_too_much_for_a_network_that(changes: dict[str, object]) -> None:
    assert not kept_up(result(**changes))
