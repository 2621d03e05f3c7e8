"""What a chaos run says at its end: each fault, how soon all was back, and every promise that broke."""

from collections.abc import Sequence
from typing import Final

import msgspec

from prsm_node.bench.report import percentile
from prsm_node.chaos.finality import Distribution
from prsm_node.chaos.schedule import Fault

GOALS_S: Final = {
    "kill_to_vote": 5.0,
    "pause_to_block": 5.0,
    "heal_to_block": 2.0,
    "heal_to_roots": 5.0,
}
"""What is aimed at on two cores with four validators; to miss one breaks no promise."""
MEANING: Final = {
    "kill_to_vote": "from kill -9 to the returned node's next vote, without the time it was kept down",
    "pause_to_block": "from SIGCONT to that node's next block",
    "heal_to_block": "from the end of a cut to the next block of any node",
    "heal_to_roots": "from the end of a fault to all nodes at a new block with equal state roots",
}
COLUMNS: Final = 8


class FaultReport(msgspec.Struct, frozen=True):
    """A fault as it was played, times in seconds from the begin of the run."""

    kind: str
    about: str
    at_s: float
    healed_s: float
    recovered_s: float | None
    """When all nodes were at a new block with equal roots; None where that did not come."""
    nodes: tuple[int, ...]
    recovery: dict[str, float]
    """Seconds, by the names of MEANING."""


class Recovery(msgspec.Struct, frozen=True):
    """All times of one name, seconds."""

    samples: int
    p50_s: float
    max_s: float
    goal_s: float
    met: bool
    """By the greatest of them."""


class Transfers(msgspec.Struct, frozen=True):
    submitted: int
    """Taken by a node, counted again where it was sent them again after it was away."""
    refused: dict[str, int]
    final: int
    """In blocks, of all that were sent here."""
    forgotten: int
    """Handed to a node, and in no block at the end: it was killed, or stood still and gave no answer."""
    lost: int
    """Reported as final, and missing on some node at the end."""
    twice: int
    """In two blocks."""


class Memory(msgspec.Struct, frozen=True):
    """What a daemon with its worker holds itself, MB: anonymous memory, without pages of mapped files."""

    node: str
    series: tuple[tuple[float, float], ...]
    """(seconds, MB), at most SERIES_MAX, evenly spread."""
    warm_mb: float | None
    """What nine tenths of the first quarter's samples after warming up do not exceed; None where the run is
    too short to say."""
    last_mb: float | None
    """The same of the last quarter."""
    growth_percent: float | None


class Report(msgspec.Struct, frozen=True):
    """A chaos run."""

    scenario: str
    seed: int
    links: str
    nodes: int
    seconds: float
    load: float
    cores: int
    load_average: float
    """Of the machine in the last five minutes, this run included: above the cores all waits for all."""
    blocks: int
    warm_s: float
    faults: tuple[FaultReport, ...]
    recovery: dict[str, Recovery]
    finality: dict[str, Distribution]
    """`outside` of faults, and `during` one or before it was recovered from."""
    transfers: Transfers
    memory: tuple[Memory, ...]
    broken: tuple[str, ...]
    """Promises that were not kept, a sentence each."""
    timeline: str
    """The file of the picture."""


def recovery(faults: Sequence[FaultReport]) -> dict[str, Recovery]:
    """Gather the times of all faults."""
    found: dict[str, Recovery] = {}
    for name, goal_s in GOALS_S.items():
        times = sorted(fault.recovery[name] for fault in faults if name in fault.recovery)
        if times:
            found[name] = Recovery(
                len(times), round(percentile(times, 0.5), 2), round(times[-1], 2), goal_s, times[-1] < goal_s
            )
    return found


def fault_line(fault: Fault, times: dict[str, float]) -> str:
    """Return one line on a fault and what followed it."""
    told = ", ".join(f"{name.replace('_', ' ')} {seconds:.2f} s" for name, seconds in times.items())
    return (
        f"{fault.at_s:7.1f} s  {fault.kind:<9} {fault.for_s:4.1f} s  {fault.about}: {told or 'not recovered'}"
    )


def told(report: Report) -> list[tuple[str, object]]:
    """Return the report as labels and texts, for people."""
    transfers = report.transfers
    refused = f", {sum(transfers.refused.values())} refused" if transfers.refused else ""
    fields: list[tuple[str, object]] = [
        ("scenario", f"{report.scenario}, seed {report.seed}, links by {report.links}"),
        ("run", f"{report.seconds:.0f} s, {report.nodes} validators, {report.load:g} transfers/s offered"),
        ("machine", f"{report.cores} cores, load average {report.load_average:.1f}"),
        ("faults", f"{len(report.faults)}, {report.blocks} blocks meanwhile"),
        (
            "transfers",
            f"{transfers.submitted} taken, counting those sent again{refused}, {transfers.final} final, "
            f"{transfers.lost} lost, {transfers.twice} twice; "
            f"{transfers.forgotten} gone with who was killed or stood still",
        ),
    ]
    for name, label in (("outside", "finality"), ("during", "in faults")):
        of = report.finality[name]
        text = (
            "nothing was final" if of.p50_ms is None else f"{of.p50_ms:g} ms at p50, {of.p99_ms:g} ms at p99"
        )
        fields.append((label, f"{text}, of {of.samples}"))
    for name, times in report.recovery.items():
        verdict = "met" if times.met else "MISSED"
        fields.append(
            (
                name,
                f"{times.p50_s:.2f} s at p50, {times.max_s:.2f} s at most of {times.samples}; "
                f"goal {times.goal_s:g} s {verdict}: {MEANING[name]}",
            )
        )
    for memory in report.memory:
        fields.append((f"memory {memory.node}", _memory_told(memory)))
    fields.append(("timeline", report.timeline))
    fields += [("BROKEN", sentence) for sentence in report.broken]
    fields.append(("promises", f"{len(report.broken)} broken" if report.broken else "all kept"))
    return fields


def _memory_told(memory: Memory) -> str:
    step = max(1, -(-len(memory.series) // COLUMNS))
    series = " ".join(f"{mb:.0f}" for _, mb in memory.series[::step])
    if memory.growth_percent is None:
        return f"{series} MB; too short a run to say how it grows"
    return (
        f"{series} MB; {memory.warm_mb:.1f} to {memory.last_mb:.1f} MB warm, {memory.growth_percent:+.1f} %"
    )
