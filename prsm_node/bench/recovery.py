"""How soon real daemons are back: after kill -9, after a cut that left no quorum; and how finality stands
with one validator stopped.

The daemons take a load meanwhile. Links are cut by prsm_node/chaos: as packets between namespaces where root
allows, by a proxy where not. Not measured: distance, and more than one fault at a time.

Whole, it takes as long as its faults and samples do, some two minutes of faults with four validators. A bound
leaves away the later ones: two thirds of it are for faults, a third for lone transfers; the samples of each
figure say how many there were. Making the network, and waiting until all daemons are level at the end, come
on top.
"""

import math
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice, zip_longest
from pathlib import Path
from random import Random
from statistics import median
from typing import Final

from prsm_node.bench.finality import FINAL_S, WARMING, lone
from prsm_node.bench.funds import Purse, purse
from prsm_node.bench.local_network import progress
from prsm_node.bench.report import BenchFailed, Metric
from prsm_node.chaos.network import Network, network
from prsm_node.chaos.run import Run, Settings
from prsm_node.chaos.scenario import Nemesis, Scenario
from prsm_node.chaos.schedule import Fault, cuts
from prsm_node.cli.testnet_up import found_homes, new_network
from prsm_node.control.client import Client

LOAD: Final = 50.0
KILLS_A_NODE: Final = 2
CUTS_S: Final = (2.0, 5.0, 8.0, 12.0, 20.0)
"""Short ones leave connections that hang, long ones leave none."""
GAP_S: Final = 5.0
APART_S: Final = 0.8
"""Lone transfers come at random moments up to so far apart: in step with the proposers, a payer would meet
the same one each time."""
PAYERS: Final = 8
"""Senders have lanes: of some, the author is the one that is stopped."""
SECONDS_MIN: Final = 60.0
"""Time for three kills, two cuts and some ten lone transfers with all and with one stopped."""


def recovery(validators: int, samples: int, seconds: float | None) -> dict[str, Metric]:
    """Measure on a network of its own; `samples` lone transfers with all and with one stopped, and all within
    `seconds` where they are given. Raise BenchFailed."""
    if validators < 4:
        raise BenchFailed(f"with {validators} validators none may be faulty; choose 4 or more")
    if seconds is not None and seconds < SECONDS_MIN:
        raise BenchFailed(
            f"{seconds:g} s are too few for a kill, a cut and lone transfers; choose {SECONDS_MIN:g}"
        )
    faulty_s, lone_s = (math.inf, math.inf) if seconds is None else (seconds * 2 / 3, seconds / 6)
    directory = Path(tempfile.mkdtemp(prefix="prsm-bench-"))
    new_network(directory / "net", validators, PAYERS, json=True)
    homes = found_homes(directory / "net")
    planned = list(faults(validators, faulty_s))
    attacked_s = planned[-1].at_s + planned[-1].for_s + GAP_S
    settings = Settings(
        scenario=Scenario(faults=(Nemesis("kill", (0, 0)),)),
        name="recovery",
        seed=0,
        seconds=attacked_s,
        load=LOAD,
    )
    try:
        with network(homes) as attacked:
            run = Run(settings, planned, attacked, progress, lambda text: None)
            _go_on(attacked)
            run.play()
            _go_on(attacked)
            report = run.report("")
            if report.broken:
                raise BenchFailed(f"a promise broke: {report.broken[0]}")
            all_ms, one_stopped_ms = _with_one_stopped(attacked, homes, samples, lone_s)
    except BaseException:
        progress(f"the homes and logs are kept in {directory}")
        raise
    shutil.rmtree(directory)
    named: dict[str, list[float]] = {}
    for fault in report.faults:
        for name, of_fault in fault.recovery.items():
            key = name if fault.kind != "kill" or name == "kill_to_vote" else "kill_to_roots"
            named.setdefault(key, []).append(of_fault)
    metrics = {name: Metric.distribution(times, "s") for name, times in sorted(named.items())}
    return metrics | {
        "all_voting": Metric.distribution(all_ms, "ms"),
        "one_stopped": Metric.distribution(one_stopped_ms, "ms"),
        "one_stopped_ratio": Metric.single(median(one_stopped_ms) / median(all_ms), "x", len(one_stopped_ms)),
    }


def faults(validators: int, within_s: float) -> Iterator[Fault]:
    """Kill each node in turn, and between kills cut the network in halves, neither of which has a quorum; as
    many as begin and are recovered from within so long."""
    kills = list(range(validators)) * KILLS_A_NODE
    at_s = GAP_S
    for turn, (node, for_s) in enumerate(zip_longest(kills, CUTS_S)):
        if node is not None and at_s + GAP_S <= within_s:
            yield Fault("kill", at_s, 0.0, nodes=(node,), about=f"node{node}")
            at_s += GAP_S
        if for_s is not None and at_s + for_s + GAP_S <= within_s:
            order = [(place + turn) % validators for place in range(validators)]
            yield Fault("partition", at_s, for_s, cuts=cuts("half", order), about=f"halves, {order}")
            at_s += for_s + GAP_S


def _with_one_stopped(
    attacked: Network, homes: Sequence[Path], samples: int, within_s: float
) -> tuple[list[float], list[float]]:
    """Return milliseconds of lone transfers, with all validators and then without the last one: so many, or
    those of `within_s` each."""
    with Client(homes[0], timeout_s=FINAL_S + 5) as client:
        payers, moments = _payers(homes[0], client), Random(0)
        progress(f"{samples} lone transfers with all, {samples} with one stopped")
        both = []
        for stopped in (False, True):
            if stopped:
                daemon = attacked.fleet.daemons[-1]
                daemon.process.terminate()
                daemon.process.wait(FINAL_S)
            taken: list[float] = []
            ends = time.monotonic() + within_s
            for payer in islice(cycle(payers), WARMING + samples):
                if len(taken) > WARMING and time.monotonic() > ends:
                    break
                _pause(attacked, moments.uniform(0.0, APART_S))
                taken.append(lone(client, payer))
            both.append(taken[WARMING:])
    return both[0], both[1]


def _pause(attacked: Network, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:  # the end of a child wakes it too
        attacked.alarm.wait(left)
        _go_on(attacked)


def _go_on(attacked: Network) -> None:
    """The network keeps SIGINT and SIGTERM to itself. Raise KeyboardInterrupt where one came."""
    if attacked.alarm.ending:
        raise KeyboardInterrupt


def _payers(home: Path, client: Client) -> list[Purse]:
    return [purse(home, client, place) for place in range(PAYERS)]
