"""How soon real daemons are back: after kill -9, after a cut that left no quorum; and how finality stands
with one validator stopped.

The daemons take a load meanwhile. Links are cut by prsm_node/chaos: as packets between namespaces where root
allows, by a proxy where not. Not measured: distance, and more than one fault at a time.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
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


def recovery(validators: int, samples: int) -> dict[str, Metric]:
    """Measure on a network of its own; `samples` lone transfers with all and with one stopped. Raise
    BenchFailed."""
    if validators < 4:
        raise BenchFailed(f"with {validators} validators none may be faulty; choose 4 or more")
    directory = Path(tempfile.mkdtemp(prefix="prsm-bench-"))
    new_network(directory / "net", validators, PAYERS, json=True)
    homes = found_homes(directory / "net")
    faults = list(_faults(validators))
    seconds = faults[-1].at_s + faults[-1].for_s + GAP_S
    settings = Settings(
        scenario=Scenario(faults=(Nemesis("kill", (0, 0)),)),
        name="recovery",
        seed=0,
        seconds=seconds,
        load=LOAD,
    )
    try:
        with network(homes) as attacked:
            run = Run(settings, faults, attacked, progress, lambda text: None)
            _go_on(attacked)
            run.play()
            _go_on(attacked)
            report = run.report("")
            if report.broken:
                raise BenchFailed(f"a promise broke: {report.broken[0]}")
            all_ms, one_stopped_ms = _with_one_stopped(attacked, homes, samples)
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
        "one_stopped_ratio": Metric.single(median(one_stopped_ms) / median(all_ms), "x", samples),
    }


def _faults(validators: int) -> Iterator[Fault]:
    """Kill each node in turn; then cut the network in halves, neither of which has a quorum."""
    at_s = GAP_S
    for node in list(range(validators)) * KILLS_A_NODE:
        yield Fault("kill", at_s, 0.0, nodes=(node,), about=f"node{node}")
        at_s += GAP_S
    for turn, for_s in enumerate(CUTS_S):
        order = [(node + turn) % validators for node in range(validators)]
        yield Fault("partition", at_s, for_s, cuts=cuts("half", order), about=f"halves, {order}")
        at_s += for_s + GAP_S


def _with_one_stopped(
    attacked: Network, homes: Sequence[Path], samples: int
) -> tuple[list[float], list[float]]:
    """Return milliseconds of lone transfers, with all validators and then without the last one."""
    with Client(homes[0], timeout_s=FINAL_S + 5) as client:
        payers, moments = _payers(homes[0], client), Random(0)
        progress(f"{samples} lone transfers with all, {samples} with one stopped")
        both = []
        for stopped in (False, True):
            if stopped:
                daemon = attacked.fleet.daemons[-1]
                daemon.process.terminate()
                daemon.process.wait(FINAL_S)
            taken = []
            for payer in islice(cycle(payers), WARMING + samples):
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
