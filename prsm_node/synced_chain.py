"""This node's chain as sync sees it (sync.blocks.Chain): how far it is, what it takes, whom it trusts."""

from typing import TYPE_CHECKING

import structlog
import trio

from consensus.certificates import Certificate, CheckedCertificate
from consensus.dissemination.batches import BatchHeader, batch_digest
from consensus.validators import ValidatorSet
from prsm_node.sync.trusted_path import TrustedPath
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
        self._path: TrustedPath | None = None

    def next_height(self) -> int:
        return self._node.host.replica.height.height

    def executed_height(self) -> int:
        return self._node.state.height

    def executed_digest(self) -> bytes:
        return self._node.state.digest

    async def executed(self, height: int) -> None:
        while self._node.state.height < height:
            await self._grown.wait()

    def grown(self) -> None:
        """A block was executed: wake who waits for its height."""
        if self._path is not None:
            self._path.executed(self._node.state.height)
        self._grown.set()
        self._grown = trio.Event()

    def validators(self, height: int) -> ValidatorSet | None:
        return self._node.host.replica.chain.validators(height)

    def certifies(self, certificate: Certificate, validators: ValidatorSet) -> bool:
        return self._node.checks.commit(certificate, validators) is not None

    def signed(self, header: BatchHeader) -> bool:
        return self._node.checks.batch(header)

    def executed_tip(self, author: bytes) -> bytes:
        return self._node.executor.executed_tip(author).digest

    def take(self, link: int, committed: Committed) -> None:
        checked = CheckedCertificate(committed.certificate)
        self._node.inbound.take_decided(link, committed.block, checked)

    def store(self, batch: Batch) -> None:
        self._node.batches.put(batch.header, batch.body, checked=False)

    async def check(self, link: int, batch: Batch) -> bool:
        """Keep a batch only if every signature in it is good; otherwise blame the link."""
        return await self._node.inbound.fetched_batch(link, batch_digest(batch.header), batch)

    def heights(self) -> dict[int, int]:
        return self._node.outbox.heights()

    def validates(self, link: int) -> bool:
        return self._node.links.validates(link)

    def follows(self, height: int) -> bool:
        """Whether this node takes part in the agreement of a height: above the trusted block."""
        return self._trusted is None or height > self._trusted.height

    def path(self) -> TrustedPath | None:
        state = self._node.state
        if self._trusted is None or state.height >= self._trusted.height:
            self._path = None
        elif self._path is None:
            self._path = TrustedPath(self._trusted.height, self._trusted.hash, state.height, state.digest)
        return self._path

    def refused(self) -> None:
        assert self._trusted is not None, "only the way to a trusted block is refused"
        self._say(self._trusted.contradicted())

    def off_the_way(self) -> None:
        assert self._trusted is not None, "only the way to a trusted block is left"
        self._say(self._trusted.off_the_way())

    def _say(self, why: str) -> None:
        now = self._node.machine.clock()
        if now - self._refused_at_s >= REFUSED_EVERY_S:
            self._refused_at_s = now
            log.error("untrusted_chain", why=why)
