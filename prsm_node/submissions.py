"""Transactions that commands hand to a running node, and how soon they are final here."""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from prsm_node.consensus_host.executor import Final
from prsm_node.control.views import FinalBlock
from prsm_node.ledger.outcomes import FIRST_UNCHARGED, Outcome
from prsm_node.mempool.admission import Reason

if TYPE_CHECKING:
    from prsm_node.node import Node

FINALITY_SAMPLES = 512
# Submissions whose finality is timed: what is not final in this many later ones is not counted.
TIMED_MAX = 8_192


class Submissions:
    """`submit` and `on_final` of NodeView (control/node.py). Called on the loop only."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._submitted: OrderedDict[bytes, float] = OrderedDict()
        self._latencies: deque[float] = deque(maxlen=FINALITY_SAMPLES)
        node.on_final(self._time_finality)

    async def submit(self, transactions: list[bytes]) -> list[tuple[bool, str]]:
        at, mempool = self._node.machine.clock(), self._node.mempool
        answers = []
        for raw, admission in zip(transactions, await mempool.submit(transactions, 0), strict=True):
            while admission.reason is Reason.DUPLICATE and mempool.pending(admission.hash) is None:
                # A peer brought it too, and that one is being checked: it may be refused yet.
                await mempool.judged(admission.hash)
                (admission,) = await mempool.submit([raw], 0)
            if admission.accepted:
                self._submitted[admission.hash] = at
            accepted = admission.accepted or admission.reason is Reason.DUPLICATE
            answers.append((accepted, "" if accepted else admission.reason.name.lower()))
        while len(self._submitted) > TIMED_MAX:
            self._submitted.popitem(last=False)
        return answers

    def on_final(self, notice: Callable[[FinalBlock], None]) -> Callable[[], None]:
        def told(final: Final) -> None:
            executed = final.execution.executed
            receipts = [
                (digest, outcome)
                for digest, outcome in zip(executed.hashes, executed.outcomes, strict=True)
                if outcome < FIRST_UNCHARGED
            ]
            notice(
                FinalBlock(
                    height=final.block.height,
                    block_hash=final.digest,
                    time_ms=final.block.time_ms,
                    transactions=[digest for digest, _ in receipts],
                    failed=[digest for digest, outcome in receipts if outcome != Outcome.EXECUTED],
                )
            )

        return self._node.on_final(told)

    def _time_finality(self, final: Final) -> None:
        now = self._node.machine.clock()
        for digest in final.execution.executed.hashes:
            at = self._submitted.pop(digest, None)
            if at is not None:
                self._latencies.append((now - at) * 1000)

    def percentiles(self) -> tuple[float | None, float | None]:
        """Return how long finality took, p50 and p99 in ms; None where nothing was submitted here."""
        ordered = sorted(self._latencies)
        if not ordered:
            return None, None
        last = len(ordered) - 1
        return ordered[last // 2], ordered[min(last, round(last * 0.99))]
