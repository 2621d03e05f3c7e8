"""Final signed transfers a second: open-loop load from this process on N daemons, all on this machine.

Without a rate the offered one is swept upwards until the network no longer keeps up; the greatest it kept up
with (the knee) is then held. The rate counts from each daemon's first block of the load to the one that came
as sending ended (load.sustained), so that a short run is told no worse than a long one. CPU and bytes a
transfer are those of the hold. Not measured: what this load generator costs, which shares the cores with the
daemons, and a network with distance.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from prsm_node.bench.funds import Purse, purse
from prsm_node.bench.load import Load, LoadResult, wait_until_empty
from prsm_node.bench.local_network import Node, local_network, progress
from prsm_node.bench.presign import AMOUNT, Signers, addresses, signers
from prsm_node.bench.processes import cpu_s
from prsm_node.bench.report import BenchFailed, Metric, percentile
from prsm_node.control.client import Client
from prsm_node.control.views import BlockView, StatusView

SENDERS: Final = 1_024
RATE_FIRST: Final = 1_000.0
STEP: Final = 1.4
STEP_S: Final = 6.0
# A step is kept up with where nothing was refused or lost, p99 stays below a second, and as much became final
# in its time as was offered, but for what may be under way at the end within that same second.
P99_MS_MAX: Final = 1_000.0
UNDER_WAY_S: Final = P99_MS_MAX / 1_000
HOLDS_MAX: Final = 6
HOLD_BACK: Final = 0.85
DRAINED_S: Final = 60.0


class Held(NamedTuple):
    """A load together with what the daemons spent on it."""

    result: LoadResult
    cpu_s: float
    bytes_sent: float


class Bench:
    """One network under loads in sequence, each with senders of its own: a refusal leaves a gap of nonces."""

    def __init__(self, nodes: Sequence[Node], signing: Signers, payer: Purse, client: Client) -> None:
        self.nodes = nodes
        self.homes = [node.home for node in nodes]
        self._signing = signing
        self._payer = payer
        self._client = client
        self._run = 0

    def load(self, rate: float, seconds: float) -> Held:
        """Fund, sign, send at `rate` for `seconds`, wait for the last one."""
        self._run += 1
        count = int(rate * seconds)
        network = self._payer.network
        share = -(-count // SENDERS) * (network.fee_min + AMOUNT)
        self._payer.fund(self._client, addresses(self._run, SENDERS), share)
        transfers = self._signing.transfers(
            network.genesis_hash, self._run, SENDERS, count, network.fee_min, len(self.nodes)
        )
        pids = [node.pid for node in self.nodes]
        cpu_before, bytes_before = cpu_s(pids), _bytes_sent(self.homes)
        result = Load(self.homes, transfers, rate).run()
        held = Held(result, cpu_s(pids) - cpu_before, _bytes_sent(self.homes) - bytes_before)
        progress(f"offered {rate:,.0f}/s for {seconds:g} s: {_sentence(result)}")
        return held


def throughput(validators: int, seconds: float, rate: float | None) -> dict[str, Metric]:
    """Measure on a network of its own. Raise BenchFailed."""
    with local_network(validators) as nodes, signers() as signing, Client(nodes[0].home) as client:
        bench = Bench(nodes, signing, purse(nodes[0].home, client), client)
        held = bench.load(rate, seconds) if rate is not None else _held_at_knee(bench, seconds)
        twice = held.result.twice + _twice_in_blocks(nodes[0].home)
    result = held.result
    final = len(result.latencies_ms)
    progress("final_transfers counts from each daemon's first block of the load to the one as sending ended")
    return {
        "final_transfers": Metric.single(result.final_a_second, "1/s", final),
        "offered": Metric.single(result.offered / result.seconds, "1/s", result.offered),
        "submit_to_final": Metric.distribution(result.latencies_ms, "ms"),
        "refused": Metric.single(sum(result.refused.values()), "transfers", result.offered),
        "lost": Metric.single(result.lost, "transfers", result.offered),
        "duplicated": Metric.single(twice, "transfers", result.offered),
        "cpu_ms_per_transfer": Metric.single(held.cpu_s * 1_000 / final, "ms", final),
        "bytes_per_transfer": Metric.single(held.bytes_sent / final, "B", final),
        "load_cpu_percent": Metric.single(100 * result.cpu_s / result.seconds, "%", result.offered),
        "load_lateness": Metric.single(result.lateness_ms, "ms", result.offered),
    }


def _held_at_knee(bench: Bench, seconds: float) -> Held:
    """Sweep upwards, halve the last step once, then hold; step back where the hold is not kept up with."""
    rate, failed = RATE_FIRST, None
    while failed is None:
        if kept_up(bench.load(rate, STEP_S).result):
            rate *= STEP
        else:
            failed = rate
            wait_until_empty(bench.homes, DRAINED_S)
    between = (failed + failed / STEP) / 2
    knee = failed / STEP
    if kept_up(bench.load(between, STEP_S).result):
        knee = between
    for _ in range(HOLDS_MAX):
        wait_until_empty(bench.homes, DRAINED_S)
        held = bench.load(knee, seconds)
        if kept_up(held.result):
            return held
        knee *= HOLD_BACK
    raise BenchFailed(f"no rate was held for {seconds:g} s; the last one was {knee / HOLD_BACK:,.0f}/s")


def kept_up(result: LoadResult) -> bool:
    """Whether the network took this rate for as long as it was offered."""
    if result.refused or result.lost or not result.latencies_ms:
        return False
    in_time = result.offered * (1 - UNDER_WAY_S / result.seconds)
    return result.final_in_time > in_time and percentile(sorted(result.latencies_ms), 0.99) < P99_MS_MAX


def _bytes_sent(homes: Sequence[Path]) -> float:
    """What all daemons wrote to their peers, frames with their lengths; Noise, Yamux and TCP add to it."""
    total = 0.0
    for home in homes:
        with Client(home) as client:
            total += client.ask("counters", dict[str, float]).get("links.bytes_out", 0.0)
    return total


def _twice_in_blocks(home: Path) -> int:
    """How many transactions stand in the chain more than once, over all blocks."""
    seen: Counter[bytes] = Counter()
    with Client(home) as client:
        for height in range(1, client.ask("status", StatusView).height + 1):
            seen.update(client.ask("block", BlockView, height=height).transactions)
    return sum(1 for times in seen.values() if times > 1)


def _sentence(result: LoadResult) -> str:
    parts = [f"{result.final_a_second:,.0f}/s final"]
    if result.latencies_ms:
        ordered = sorted(result.latencies_ms)
        parts.append(f"p50 {percentile(ordered, 0.5):.0f} ms, p99 {percentile(ordered, 0.99):.0f} ms")
    parts += [f"{count} refused: {reason}" for reason, count in result.refused.items()]
    if result.lost:
        parts.append(f"{result.lost} lost")
    return "; ".join(parts)
