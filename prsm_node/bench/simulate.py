"""How fast clusters are attacked: seeds of the mixed scenario, and messages that arrive, on one core.

Pure simulation: no signatures, disks or sockets, so nothing here says how fast a daemon is. Whole daemons are
attacked by as many processes as there are cores; they have signatures, and disks in memory.
"""

import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

from consensus.simulation.run import Verdict
from prsm_node.bench.local_network import progress
from prsm_node.bench.report import Metric, machine
from prsm_node.cli.simulate import load, verdicts_of

FIRST: Final = 1_000_000
SEED_S: Final = 0.7
"""About what one seed with whole daemons takes a core."""


def simulate(seconds: float) -> dict[str, Metric]:
    """Run seeds for so long."""
    plan = load("mixed")
    progress(f"seeds of the mixed scenario for {seconds:g} s")
    started = time.monotonic()
    taken_ms, messages = [], 0
    before = started
    for verdict in verdicts_of(plan, range(FIRST, FIRST + 1_000_000), None, jobs=1):
        now = time.monotonic()
        taken_ms.append((now - before) * 1_000)
        messages += verdict.delivered
        before = now
        if now - started >= seconds:
            break
    elapsed = before - started
    daemon_seeds, taken = _daemons(seconds)
    return {
        "seeds": Metric.single(len(taken_ms) / elapsed, "seeds/s", len(taken_ms)),
        "messages": Metric.single(messages / elapsed, "messages/s", messages),
        "seed": Metric.distribution(taken_ms, "ms"),
        "daemon_seeds": Metric.single(daemon_seeds, "seeds/s", taken),
    }


def _daemons(seconds: float) -> tuple[float, int]:
    """Return the rate, and how many seeds were run: about as many as fit into the time."""
    cores = machine().cores
    progress(f"seeds of the mixed scenario with whole daemons for {seconds:g} s on {cores} cores")
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        # Processes load the node first; that is not what is measured.
        deque(pool.map(_daemon_seed, range(FIRST, FIRST + cores)), maxlen=0)
        seeds = max(cores, int(seconds * cores / SEED_S))
        began = time.monotonic()
        deque(pool.map(_daemon_seed, range(FIRST + cores, FIRST + cores + seeds)), maxlen=0)
        return seeds / (time.monotonic() - began), seeds


def _daemon_seed(seed: int) -> Verdict:
    from prsm_node.simulation import run  # loads the whole node

    return run.simulate(load("mixed"), seed)
