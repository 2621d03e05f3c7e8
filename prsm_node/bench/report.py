"""What a bench answers: machine, command, and figures with unit, samples and percentiles."""

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from typing import Self

import msgspec
from msgspec import UNSET, UnsetType

from prsm_node.errors import OperatorError


class BenchFailed(OperatorError):
    """A figure could not be measured; the message says why."""


class Machine(msgspec.Struct, frozen=True):
    cores: int
    """Those this process may use."""
    model: str
    memory_mb: int
    python: str
    kernel: str


class Metric(msgspec.Struct, frozen=True, omit_defaults=True):
    value: float
    unit: str
    samples: int
    p50: float | UnsetType = UNSET
    p95: float | UnsetType = UNSET
    p99: float | UnsetType = UNSET

    @classmethod
    def distribution(cls, samples: Sequence[float], unit: str) -> Self:
        """The median as the value, and percentiles; raise BenchFailed without samples."""
        if not samples:
            raise BenchFailed("nothing was measured: no sample was final")
        ordered = sorted(samples)
        p50, p95, p99 = (percentile(ordered, share) for share in (0.50, 0.95, 0.99))
        return cls(rounded(p50), unit, len(ordered), rounded(p50), rounded(p95), rounded(p99))

    @classmethod
    def single(cls, value: float, unit: str, samples: int) -> Self:
        """A figure without a distribution: a rate, a count, a mean."""
        return cls(rounded(value), unit, samples)


class Report(msgspec.Struct, frozen=True):
    bench: str
    machine: Machine
    command: str
    metrics: dict[str, Metric]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest sample that at least `share` of the samples do not exceed; `ordered` ascends."""
    assert ordered, "percentiles need samples"
    return ordered[max(0, -(-len(ordered) * round(share * 1_000) // 1_000) - 1)]


def rounded(value: float) -> float:
    """Four significant digits: no figure here is finer."""
    return float(f"{value:.4g}") if abs(value) < 1_000 else float(round(value))


def report(bench: str, metrics: dict[str, Metric]) -> Report:
    """Put this machine and this command beside the figures."""
    return Report(bench, machine(), shlex.join(["prsm-node", *sys.argv[1:]]), metrics)


def machine() -> Machine:
    model = "unknown"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith(("model name", "Model")):
                model = line.partition(":")[2].strip()
                break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        model=model,
        memory_mb=memory >> 20,
        python=platform.python_version(),
        kernel=platform.release(),
    )
