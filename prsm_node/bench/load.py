"""Open-loop load: transfers that were signed beforehand leave at their scheduled times, whatever comes back.

Latency counts from the scheduled time, so that a network that falls behind can't hide it by slowing the load.
One thread, few system calls: what is due in a tick leaves as one `submit` a node, pipelined; finality is
learnt from `follow`, on a connection of its own. A tick of TICK_S is in every latency, half of it on average.
"""

import gc
import selectors
import time
from array import array
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from prsm_node.bench.report import BenchFailed
from prsm_node.control.client import RECEIVE_BYTES, connected_socket
from prsm_node.control.protocol import SOCKET_NAME, Kind, Refusal, Splitter, decode_response, framed
from prsm_node.control.views import FinalBlock

TICK_S: Final = 0.02
# A load that does not become final is given up when nothing came for this long.
DRAIN_S: Final = 15.0
SUBMIT_MAX: Final = 2_048  # transfers a message: 400 KB


class Signed(msgspec.Struct, frozen=True, array_like=True):
    """A transfer ready to leave."""

    node: int
    raw: bytes
    digest: bytes


class LoadResult(msgspec.Struct, frozen=True):
    """What became of the transfers of one run."""

    offered: int
    seconds: float
    """In which they were sent, as scheduled."""
    refused: dict[str, int]
    """Those that a node did not take, by its reason."""
    final_in_time: int
    """Final before the last one was due to be sent."""
    final_a_second: float
    """What all nodes together made final a second, each measured by `sustained`."""
    latencies_ms: list[float]
    """From the scheduled time to finality at the node it was sent to; of all that became final."""
    lost: int
    """Accepted, but not final after the drain."""
    twice: int
    """Announced as final more than once by the same node."""
    cpu_s: float
    """What this sender used itself, of the cores that it shares with the daemons."""
    lateness_ms: float
    """The greatest delay of this sender behind its schedule; a large one means that it lacked CPU."""


class _Wire:
    """A non-blocking connection with what is still to be written to it."""

    def __init__(self, home: Path) -> None:
        self.socket = connected_socket(home / SOCKET_NAME, 10.0)
        self.socket.setblocking(False)
        self.splitter = Splitter()
        self.unwritten: deque[memoryview] = deque()

    def send(self, message: bytes) -> None:
        self.unwritten.append(memoryview(message))
        self.flush()

    def flush(self) -> None:
        while self.unwritten:
            try:
                sent = self.socket.send(self.unwritten[0])
            except BlockingIOError:
                return
            if sent < len(self.unwritten[0]):
                self.unwritten[0] = self.unwritten[0][sent:]
                return
            self.unwritten.popleft()

    def receive(self) -> bytes:
        try:
            received = self.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return b""
        if not received:
            raise BenchFailed("a daemon closed its control socket under load; see its log")
        return received


class Load:
    """One run: `transfers` at `rate` a second over the nodes of these homes."""

    def __init__(self, homes: Sequence[Path], transfers: Sequence[Signed], rate: float) -> None:
        self._transfers = transfers
        self._rate = rate
        self._places: list[dict[bytes, int]] = [{} for _ in homes]
        for place, transfer in enumerate(transfers):
            self._places[transfer.node][transfer.digest] = place
        self._final_at = array("d", bytes(8 * len(transfers)))
        self._refused: dict[str, int] = {}
        self._final = self._twice = self._sent = 0
        self._lateness_s = 0.0
        self._last_news = 0.0
        self._submitting = [_Wire(home) for home in homes]
        self._following = [_Wire(home) for home in homes]

    def run(self) -> LoadResult:
        """Send all, wait until all are final or nothing comes any more.

        Raise BenchFailed if a node goes away.
        """
        selector = selectors.DefaultSelector()
        for node, wire in enumerate(self._submitting):
            selector.register(wire.socket, selectors.EVENT_READ, (self._answered, node))
        for node, wire in enumerate(self._following):
            selector.register(wire.socket, selectors.EVENT_READ, (self._followed, node))
            wire.send(framed((0, "follow", {})))
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            return self._run(selector)
        finally:
            gc.enable()
            gc.unfreeze()
            selector.close()
            for wire in (*self._submitting, *self._following):
                wire.socket.close()

    def _run(self, selector: selectors.BaseSelector) -> LoadResult:
        count, rate = len(self._transfers), self._rate
        start = time.perf_counter() + 0.1
        cpu_before = time.process_time()
        self._last_news = start
        while True:
            now = time.perf_counter()
            if self._sent < count:
                self._send_due(min(count, int((now - start) * rate) + 1) if now >= start else 0, start, now)
            elif self._final + sum(self._refused.values()) >= count or now - self._last_news > DRAIN_S:
                break
            for key, _ in selector.select(TICK_S):
                handle, node = key.data
                handle(node)
            for wire in self._submitting:
                if wire.unwritten:
                    wire.flush()
            # The rest of the tick: what arrives meanwhile is taken together.
            rest_s = TICK_S - (time.perf_counter() - now)
            if rest_s > 0:
                time.sleep(rest_s)
        return self._result(start, time.process_time() - cpu_before)

    def _send_due(self, due: int, start: float, now: float) -> None:
        if due <= self._sent:
            return
        self._lateness_s = max(self._lateness_s, now - start - self._sent / self._rate)
        raws: list[list[bytes]] = [[] for _ in self._submitting]
        for transfer in self._transfers[self._sent : due]:
            raws[transfer.node].append(transfer.raw)
        for node, of_node in enumerate(raws):
            for first in range(0, len(of_node), SUBMIT_MAX):
                piece = of_node[first : first + SUBMIT_MAX]
                self._submitting[node].send(framed((1, "submit", {"transactions": piece})))
        self._sent = due

    def _answered(self, node: int) -> None:
        wire = self._submitting[node]
        for message in wire.splitter.feed(wire.receive()):
            response = decode_response(message)
            if response.kind is Kind.ERROR:
                refusal = msgspec.msgpack.decode(response.payload, type=Refusal)
                raise BenchFailed(f"submit was refused: {refusal.message}")
            answers = msgspec.msgpack.decode(response.payload, type=list[tuple[bool, str]])
            for accepted, reason in answers:
                if not accepted:
                    self._refused[reason] = self._refused.get(reason, 0) + 1

    def _followed(self, node: int) -> None:
        wire = self._following[node]
        received = wire.receive()
        now = time.perf_counter()
        places, final_at = self._places[node], self._final_at
        for message in wire.splitter.feed(received):
            response = decode_response(message)
            if response.kind is Kind.ERROR:
                refusal = msgspec.msgpack.decode(response.payload, type=Refusal)
                raise BenchFailed(f"the blocks of node {node} can't be followed: {refusal.message}")
            block = msgspec.msgpack.decode(response.payload, type=FinalBlock)
            if block.failed:
                raise BenchFailed(f"{len(block.failed)} transfers of block {block.height} failed")
            for digest in block.transactions:
                place = places.get(digest)
                if place is None:
                    continue
                if final_at[place]:
                    self._twice += 1
                    continue
                final_at[place] = now
                self._final += 1
                self._last_news = now

    def _result(self, start: float, cpu_s: float) -> LoadResult:
        count, rate = len(self._transfers), self._rate
        seconds = count / rate
        refused = sum(self._refused.values())
        of_nodes: list[list[float]] = [[] for _ in self._places]
        for transfer, at in zip(self._transfers, self._final_at, strict=True):
            if at:
                of_nodes[transfer.node].append(at)
        return LoadResult(
            offered=count,
            seconds=seconds,
            refused=self._refused,
            final_in_time=sum(1 for at in self._final_at if 0 < at <= start + seconds),
            final_a_second=sum(sustained(finals, start, start + seconds) for finals in of_nodes),
            latencies_ms=[(at - start - i / rate) * 1_000 for i, at in enumerate(self._final_at) if at],
            lost=max(0, count - self._final - refused),
            twice=self._twice,
            cpu_s=cpu_s,
            lateness_ms=self._lateness_s * 1_000,
        )


def sustained(finals: Sequence[float], begun: float, ended: float) -> float:
    """Return how many became final a second at a node, from its first block of the load to the one that came
    as sending ended, or after it.

    `finals`: a moment for each transfer, in seconds; those of a block are alike. Counted from block to block,
    neither the time until the first one nor the drain after the last is in it, however short the load was; a
    block that is late, or did not come, is.
    """
    if not finals:
        return 0.0
    ordered = sorted(finals)
    first, last = ordered[0], next((at for at in ordered if at >= ended), ended)
    if first >= ended:  # it took longer than the sending
        return len(ordered) / (ordered[-1] - begun)
    return sum(1 for at in ordered if first < at <= last) / (last - first)


def wait_until_empty(homes: Sequence[Path], deadline_s: float) -> None:
    """Wait until no node holds pending transactions; raise BenchFailed after `deadline_s`."""
    from prsm_node.control.client import Client
    from prsm_node.control.views import StatusView

    deadline = time.monotonic() + deadline_s
    for home in homes:
        with Client(home, timeout_s=deadline_s) as client:
            while (pending := client.ask("status", StatusView).mempool) > 0:
                if time.monotonic() > deadline:
                    raise BenchFailed(
                        f"{home.name} still holds {pending} transactions after {deadline_s:g} s"
                    )
                time.sleep(0.1)
