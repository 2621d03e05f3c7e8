"""How fast clusters are attacked: seeds of the mixed scenario, and messages that arrive, on one core.

Pure simulation: no signatures, disks or sockets, so nothing here says how fast a daemon is.
"""

import time
from typing import Final

from prsm_node.bench.local_network import progress
from prsm_node.bench.report import Metric
from prsm_node.cli.simulate import load, verdicts_of

FIRST: Final = 1_000_000


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
    return {
        "seeds": Metric.single(len(taken_ms) / elapsed, "seeds/s", len(taken_ms)),
        "messages": Metric.single(messages / elapsed, "messages/s", messages),
        "seed": Metric.distribution(taken_ms, "ms"),
    }
