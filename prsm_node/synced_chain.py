"""This node's chain as sync sees it (sync.blocks.Chain): how far it is, what it takes, whom it trusts."""

from typing import TYPE_CHECKING

import structlog
import trio

from consensus.blocks import Block
from consensus.dissemination.batches import batch_digest
from prsm_node.trusted_block import TrustedBlock
from prsm_node.wire.payloads import Batch, Committed

if TYPE_CHECKING:
    from prsm_node.node import Node

log = structlog.get_logger("node")

# A peer with a rival chain is asked and answers again: one line says as much as a hundred.
REFUSED_EVERY_S = 60.0


class SyncedChain:
    """`trusted` is the block that this home's invite vouches for, if it was made by one."""

    def __init__(self, node: "Node", trusted: TrustedBlock | None) -> None:
        self._node = node
        self._trusted = trusted
        self._grown = trio.Event()
        self._refused_at_s = -REFUSED_EVERY_S

    def next_height(self) -> int:
        return self._node.host.replica.height.height

    def executed_height(self) -> int:
        return self._node.state.height

    async def executed(self, height: int) -> None:
        while self._node.state.height < height:
            await self._grown.wait()

    def grown(self) -> None:
        """A block was executed: wake who waits for its height."""
        self._grown.set()
        self._grown = trio.Event()

    def decided(self, link: int, committed: Committed) -> bool:
        return self._node.inbound.decided(link, committed)

    def take(self, link: int, committed: Committed) -> bool:
        return self._node.inbound.receive_committed(link, committed)

    def store(self, batch: Batch) -> bool:
        if not self._node.checks.batch(batch.header):
            return False
        self._node.batches.put(batch.header, batch.body, checked=False)
        return True

    async def check(self, link: int, batch: Batch) -> bool:
        """Keep a batch only if every signature in it is good; otherwise blame the link."""
        return await self._node.inbound.fetched_batch(link, batch_digest(batch.header), batch)

    def heights(self) -> dict[int, int]:
        return self._node.outbox.heights()

    def validates(self, link: int) -> bool:
        node = self._node
        key = node.outbox.validator_of(link)
        return key is not None and node.validators(node.state.height + 1).power(key) > 0

    def trusts(self, block: Block) -> bool:
        """Whether a block may be of the chain that this home's invite vouches for."""
        if self._trusted is None:
            return True
        state = self._node.state
        why = self._trusted.contradicts(block)
        if not why and block.height == state.height + 1:
            why = self._trusted.off_the_way(block, state.digest)
        now = self._node.machine.clock()
        if why and now - self._refused_at_s >= REFUSED_EVERY_S:
            self._refused_at_s = now
            log.error("untrusted_chain", why=why)
        return not why
