"""Lone transfers, one at a time, on an idle network: from submission to finality at the submitting node.

Measured at the client: its socket, admission, batch, acknowledgements, a block, its execution, the answer.
Not measured: a network with distance (all is loopback), and load (`throughput`).
"""

import time
from typing import Final

import msgspec

from prsm_node.bench.funds import Purse, purse
from prsm_node.bench.local_network import local_network, progress
from prsm_node.bench.report import BenchFailed, Metric
from prsm_node.control.client import Client
from prsm_node.control.protocol import Kind
from prsm_node.control.views import Settled

# Long enough for the rounds that a transfer leaves behind to settle (the open root is named two blocks on).
PAUSE_S: Final = 0.1
WARMING: Final = 5
FINAL_S: Final = 30.0


def finality(validators: int, samples: int) -> dict[str, Metric]:
    """Measure on a network of its own. Raise BenchFailed."""
    taken_ms: list[float] = []
    with local_network(validators) as nodes, Client(nodes[0].home, timeout_s=FINAL_S + 5) as client:
        payer = purse(nodes[0].home, client)
        for sample in range(WARMING + samples):
            ms = lone(client, payer)
            if sample >= WARMING:
                taken_ms.append(ms)
            if sample % 20 == 0:
                progress(f"{sample} of {WARMING + samples}")
    return {"submit_to_final": Metric.distribution(taken_ms, "ms")}


def lone(client: Client, payer: Purse) -> float:
    """Send a transfer and wait until it is final, and for what follows; return its milliseconds."""
    raw = payer.pay(payer.address, 1)
    started = time.perf_counter()
    for kind, payload in client.stream("submit_and_wait", transaction=raw, timeout_s=FINAL_S):
        if kind is Kind.RESULT:
            ended = time.perf_counter()
            settled = msgspec.msgpack.decode(payload, type=Settled)
    if settled.outcome != "executed":
        raise BenchFailed(f"a transfer failed: {settled.outcome}")
    time.sleep(PAUSE_S)
    return (ended - started) * 1_000
