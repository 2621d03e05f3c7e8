"""Transactions handed in over the control socket, and those whose clients wait until they are final."""

from hashlib import sha256

import trio

from prsm_node.control.node import NodeView
from prsm_node.control.params import AwaitedSubmission, Submission
from prsm_node.control.protocol import ControlError
from prsm_node.control.server import Emit
from prsm_node.control.views import Admitted, FinalBlock, Settled

# Hashes, each with an event for each client that waits for it: some hundred bytes apiece.
WAITING_MAX = 4_096


class Submitting:
    """The methods `submit` and `submit_and_wait`; hears the node's final blocks once, for all who wait."""

    def __init__(self, node: NodeView) -> None:
        self._node = node
        self._waiting: dict[bytes, list[trio.Event]] = {}
        node.on_final(self._wake)

    def _wake(self, block: FinalBlock) -> None:
        if self._waiting:
            for digest in self._waiting.keys() & set(block.transactions):
                for final in self._waiting[digest]:
                    final.set()

    async def submit(self, params: Submission, emit: Emit) -> object:
        return await self._node.submit(params.transactions)

    async def submit_and_wait(self, params: AwaitedSubmission, emit: Emit) -> object:
        started = trio.current_time()
        digest = sha256(params.transaction).digest()
        waiting = self._waiting
        if len(waiting) >= WAITING_MAX:
            raise ControlError("busy", f"{WAITING_MAX} transactions are waited for already; try again soon")
        final = trio.Event()
        waiting.setdefault(digest, []).append(final)
        try:
            ((accepted, reason),) = await self._node.submit([params.transaction])
            if not accepted:
                raise ControlError("refused", f"the transaction was refused: {reason}")
            await emit(Admitted("admitted", digest))
            with trio.move_on_after(params.timeout_s):
                await final.wait()
                latency_ms = (trio.current_time() - started) * 1_000
                return await _settled(self._node, digest, latency_ms)
        finally:
            waiting[digest].remove(final)
            if not waiting[digest]:
                del waiting[digest]
        raise ControlError(
            "timed_out", f"{digest.hex()} was admitted but is not final after {params.timeout_s:g} s"
        )


async def _settled(node: NodeView, digest: bytes, latency_ms: float) -> Settled:
    transaction = await node.transaction(digest)
    assert transaction is not None, f"{digest.hex()} was announced as final but is unknown"
    assert transaction.height is not None, f"{digest.hex()} was announced as final but is pending"
    block = await node.block(transaction.height)
    assert block is not None, f"{digest.hex()} is in block {transaction.height}, which is not there"
    return Settled(
        tx=digest,
        height=block.height,
        block_hash=block.hash,
        latency_ms=latency_ms,
        outcome=transaction.outcome or "executed",
        strength=block.strength,
    )
