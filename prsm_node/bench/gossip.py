"""Gossip on a bad network: one link of ten is cut, one packet of twenty is lost; who misses what?

Nodes of links and gossip alone, each a process, on links shaped by prsm_node/chaos; all publish. The links
are cut while messages are under way and stay cut until the end, so what reaches everybody went around them.
"""

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from random import Random
from typing import Final

import msgspec

from prsm_node.bench.gossip_node import Order, Told, key
from prsm_node.bench.local_network import progress
from prsm_node.bench.report import BenchFailed, Metric
from prsm_node.chaos.carrier import Carrier, End, carrier
from prsm_node.chaos.shaping import Condition, Conditions
from prsm_node.cli.home_making import free_ports
from prsm_node.identity.peer_ids import peer_id

NODES: Final = 10
CUT_SHARE: Final = 0.10
LOSS: Final = 0.05
RATE: Final = 10.0
"""Messages a second that each node publishes."""
READY_S: Final = 60.0
REPAIRED_S: Final = 30.0
"""Rounds of offers come each second: what is missing after this stays missing."""
SEED: Final = 1


class _Node:
    def __init__(self, index: int, port: int, carrying: Carrier) -> None:
        self.index = index
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment |= carrying.environment(index)
        environment |= {"PRSM_NETWORK__MDNS": "false", "PRSM_NETWORK__DHT": "false"}
        with carrying.born(index):
            self.process = subprocess.Popen(
                [sys.executable, "-m", "prsm_node.bench.gossip_node", str(index), str(port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                env=environment,
            )

    def order(self, order: Order) -> None:
        assert self.process.stdin is not None, "stdin is a pipe"
        try:
            self.process.stdin.write(msgspec.json.encode(order) + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise BenchFailed(f"node {self.index} of the gossip bench ended; see above") from None

    def told(self, within_s: float) -> Told:
        assert self.process.stdout is not None, "stdout is a pipe"
        readable, _, _ = select.select([self.process.stdout], [], [], within_s)
        line = self.process.stdout.readline() if readable else b""
        if not line:
            raise BenchFailed(f"node {self.index} of the gossip bench does not answer; see above")
        return msgspec.json.decode(line, type=Told)


def gossip(seconds: float) -> dict[str, Metric]:
    """Publish for so long. Raise BenchFailed."""
    pairs = list(combinations(range(NODES), 2))
    cut = Random(SEED).sample(pairs, -(-len(pairs) * round(CUT_SHARE * 100) // 100))
    lossy = Condition(loss=LOSS)
    off = tuple((a, b, Condition(cut=True)) for pair in cut for a, b in (pair, pair[::-1]))
    count = max(1, int(seconds * RATE))
    with _nodes() as (nodes, carrying):
        _wait_until_linked(nodes)
        progress(
            f"{NODES} nodes publish {count} messages each; {len(cut)} of {len(pairs)} links are cut, "
            f"{LOSS:.0%} of packets lost"
        )
        carrying.order(Conditions(lossy))
        for node in nodes:
            node.order(Order(count, RATE))
        time.sleep(seconds / 4)
        carrying.order(Conditions(lossy, off))
        for node in nodes:
            node.told(seconds + READY_S)
        expected = count * NODES * (NODES - 1)
        told = _until_all_came(nodes, expected)
    latencies = [ms for one in told for ms in one.latencies_ms]
    return {
        "delivered": Metric.single(100 * len(latencies) / expected, "%", expected),
        "missing": Metric.single(expected - len(latencies), "receipts", expected),
        "receipt": Metric.distribution(latencies, "ms"),
        "repaired": Metric.single(sum(one.repaired for one in told), "messages", expected),
        "links_cut": Metric.single(100 * len(cut) / len(pairs), "%", len(pairs)),
    }


def _until_all_came(nodes: Sequence[_Node], expected: int) -> list[Told]:
    deadline = time.monotonic() + REPAIRED_S
    while True:
        told = _ask_all(nodes)
        if sum(len(one.latencies_ms) for one in told) >= expected or time.monotonic() > deadline:
            return told
        time.sleep(0.5)


def _wait_until_linked(nodes: Sequence[_Node]) -> None:
    deadline = time.monotonic() + READY_S
    while any(one.links < NODES - 1 for one in _ask_all(nodes)):
        if time.monotonic() > deadline:
            raise BenchFailed(f"not all nodes were linked within {READY_S:g} s")
        time.sleep(0.2)


def _ask_all(nodes: Sequence[_Node]) -> list[Told]:
    for node in nodes:
        node.order(Order(0))
    return [node.told(READY_S) for node in nodes]


@contextmanager
def _nodes() -> Iterator[tuple[list[_Node], Carrier]]:
    ports = free_ports(NODES)
    carrying = carrier([End(port, peer_id(key(index).public)) for index, port in enumerate(ports)])
    nodes: list[_Node] = []
    try:
        for index, port in enumerate(ports):
            nodes.append(_Node(index, port, carrying))
        yield nodes, carrying
    finally:
        for node in nodes:
            if node.process.poll() is None:
                node.process.terminate()
        for node in nodes:
            try:
                node.process.wait(10)
            except subprocess.TimeoutExpired:
                node.process.kill()
                node.process.wait()
        carrying.close()
