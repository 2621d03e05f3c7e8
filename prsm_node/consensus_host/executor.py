"""Turns decisions into state: brings in the batches, keeps the decision, executes, tells, commits.

Decisions come in order of height and are executed in that order by one task. Between decisions it executes
the block of the last polka ahead (PROTOCOL, Blocks 5), aside from the state: the decision of it adopts the
result, that of another drops it, and nobody sees it before. A block is final here once it is executed and its
decision is durable; both go on at once. LMDB follows behind (DESIGN, "Durability").
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import structlog
import trio

from consensus.blocks import Block, Tip, block_digest
from consensus.certificates import CheckedCertificate
from consensus.dissemination.batches import EMPTY_LANE, BatchHeader
from consensus.inputs import BlockExecuted
from consensus.validators import ValidatorSet
from prsm_node.consensus_host.batch_store import BatchStore, StoredBatch
from prsm_node.consensus_host.chain_mark import MARK, ChainMark
from prsm_node.consensus_host.records import KeptBatch, KeptDecision, RecordKind, encode_record
from prsm_node.ledger.roster import AHEAD
from prsm_node.storage import set_changes
from prsm_node.storage.blocks import BatchRecord
from prsm_node.storage.executed_block import Execution
from prsm_node.storage.journal import Journal
from prsm_node.storage.speculation import Speculation
from prsm_node.storage.state import State

log = structlog.get_logger("ledger")

# The replica decides at most three heights beyond execution (consensus/chain.py), catching up included.
DECISIONS_MAX = 8
FETCH_EVERY_S = 0.5
# A node that was away fetches a lane's batches one after the other, 50 ms each: dozens would make it late for
# seconds. After this long whole blocks are asked for, and again if that brought nothing.
LACKING_S = 0.25
ASKED_S = 2.0


class Final(msgspec.Struct, frozen=True):
    """A block as it became final here."""

    block: Block
    digest: bytes
    certificate: CheckedCertificate
    execution: Execution


class Snapshots(Protocol):
    """Who takes snapshots of the state."""

    def due(self, height: int) -> bool:
        """Whether one is taken of the state after this height."""

    def begin(self) -> None:
        """The state stands after that height, and all of it is committed."""


class BatchWanter(Protocol):
    def batch(self, author: bytes, digest: bytes, link: int) -> None:
        """Ask peers for one batch."""

    def lacking(self, block: Block) -> None:
        """Ask peers for all batches of a decided block."""


class Executor:
    """The only writer of state.

    Args:
        validators: the set of a height.
        executed: told of each executed block, in order; feeds the replica.
        final: told of each final block, in order.
        catches_up: whether this node is far behind, so that nobody waits for its blocks to be durable.
    """

    def __init__(
        self,
        *,
        state: State,
        mark: ChainMark,
        batches: BatchStore,
        journal: Journal,
        wanter: BatchWanter,
        validators: Callable[[int], ValidatorSet | None],
        executed: Callable[[BlockExecuted, Execution], None],
        final: Callable[[Final], None],
        signed_from: Callable[[], int | None],
        catches_up: Callable[[], bool] = lambda: False,
        snapshots: Snapshots | None = None,
    ) -> None:
        self.mark = mark
        self._state = state
        self._batches = batches
        self._journal = journal
        self._wanter = wanter
        self._validators = validators
        self._executed = executed
        self._final = final
        self._signed_from = signed_from
        self._catches_up = catches_up
        self._snapshots = snapshots
        self._tips = {tip.author: tip for tip in mark.tips}
        self._heads = {head.author: head for head in mark.heads}
        self.missing: frozenset[bytes] = frozenset()
        """The digests of batches that execution waits for."""
        self._decided: deque[tuple[Block, CheckedCertificate, int]] = deque()
        self._durable_height = mark.height
        self._waiting_final: deque[Final] = deque()
        self._prepared: Block | None = None
        """Of the last polka, until it is executed ahead or found not to be next."""
        self._speculated: Speculation | None = None
        self.counters: dict[str, int] = {"speculated": 0, "adopted": 0}
        self._more = trio.Event()
        self._commit_due = trio.Event()

    def decide(self, block: Block, certificate: CheckedCertificate) -> None:
        """Keep a decision and queue its execution."""
        assert len(self._decided) < DECISIONS_MAX, "the replica decides far beyond execution"
        record = encode_record(KeptDecision(block, certificate))
        position = self._journal.append(
            RecordKind.DECISION,
            record,
            then=lambda: self._durable(block.height),
            urgent=not self._catches_up(),
        )
        self._decided.append((block, certificate, position))
        self._more.set()

    def prepare(self, block: Block) -> None:
        """A polka stands for this block: ask for the batches that are missing, execute it ahead."""
        for tip in block.tips:
            if (
                self._batches.get(tip.digest) is None
                and tip.sequence > self.executed_tip(tip.author).sequence
            ):
                self._wanter.batch(tip.author, tip.digest, 0)
        self._prepared = block
        self._more.set()

    def strengthen(self, certificate: CheckedCertificate) -> None:
        """Keep a stronger certificate of a decided height; not durable by itself, since any certificate
        serves."""
        if certificate.height <= self.mark.height:
            self._state.replace_commit(certificate.height, certificate)
            return
        for index, (block, _, position) in enumerate(self._decided):
            if block.height == certificate.height:
                self._decided[index] = (block, certificate, position)

    async def run(self) -> None:
        """Own execution and commits. Raise StorageError where the state can't be kept."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._commit_when_due)
            nursery.start_soon(self._state.tend)
            while True:
                while not self._decided:
                    await self._speculate()
                    await self._more.wait()
                    self._more = trio.Event()
                batches = await self._gather(self._decided[0][0])
                await self._keep(batches)
                if self._state.overloaded:
                    await self.commit()
                # Only here: its certificate may have grown meanwhile.
                block, certificate, _ = self._decided.popleft()
                self._execute(block, certificate, batches)
                if self._snapshots is not None and self._snapshots.due(block.height):
                    await self.commit()
                    self._snapshots.begin()
                await trio.lowlevel.checkpoint()

    async def _speculate(self) -> None:
        """Execute the block of the last polka ahead if it is the next one and its batches are at hand.

        Our precommit comes first: the journal and the links have it before this takes the loop.
        """
        if self._prepared is None:
            return
        await self._journal.flush()
        await trio.lowlevel.checkpoint()
        block, self._prepared = self._prepared, None
        if self._decided or block.height != self.mark.height + 1 or block.parent != self.mark.digest:
            return
        digest = block_digest(block)
        if self._speculated is not None and self._speculated.digest == digest:
            return
        batches = self.gathered(block)
        if batches:
            bodies = [stored.decoded or stored.body for stored in batches]
            self._speculated = self._state.speculate(block, digest, bodies)
            self.counters["speculated"] += 1

    def _adopted(self, digest: bytes) -> Speculation | None:
        """Return what was executed ahead of this block; that of another is dropped."""
        speculated, self._speculated = self._speculated, None
        if speculated is None or speculated.digest != digest:
            return None
        self.counters["adopted"] += 1
        return speculated

    def executed_tip(self, author: bytes) -> Tip:
        """Return how far a lane is executed."""
        return self._tips.get(author) or Tip(author, 0, EMPTY_LANE)

    def head_of(self, author: bytes) -> BatchHeader | None:
        """Return the last batch of a lane that is executed."""
        return self._heads.get(author)

    async def _gather(self, block: Block) -> list[StoredBatch]:
        """Return the block's batches in order of execution, once all are here and checked."""
        began = trio.current_time()
        while True:
            found, missing = self._walk(block)
            self.missing = frozenset(digest for _, digest in missing)
            if not missing:
                return found
            for author, digest in missing:
                self._wanter.batch(author, digest, 0)
            if trio.current_time() - began >= LACKING_S:
                self._wanter.lacking(block)
                began = trio.current_time() + ASKED_S
            with trio.move_on_after(FETCH_EVERY_S):
                await self._batches.arrival()

    def _in_order(self, block: Block) -> Sequence[Tip]:
        """Blocks 4: lanes start at (height mod n), in order of the set."""
        validators = self._validators(block.height)
        assert validators is not None, f"the set of {block.height} is unknown"
        keys = tuple(validators.powers)
        start = block.height % len(keys)
        place = {key: (index - start) % len(keys) for index, key in enumerate(keys)}
        return sorted(block.tips, key=lambda tip: place[tip.author])

    def execute_decided(
        self, block: Block, certificate: CheckedCertificate, batches: list[StoredBatch]
    ) -> None:
        """Execute at once a block whose decision the journal holds already (recovery)."""
        self._durable_height = max(self._durable_height, block.height)
        self._execute(block, certificate, batches)
        self._waiting_final.clear()

    def gathered(self, block: Block) -> list[StoredBatch] | None:
        """Return the block's batches in order of execution if all are here, without waiting."""
        found, missing = self._walk(block)
        return None if missing else found

    def _walk(self, block: Block) -> tuple[list[StoredBatch], list[tuple[bytes, bytes]]]:
        """Return the block's batches in order of execution, and (author, digest) of each lane's first gap."""
        found: list[StoredBatch] = []
        missing: list[tuple[bytes, bytes]] = []
        for tip in self._in_order(block):
            batches, absent = self._batches.segment(tip, self.executed_tip(tip.author))
            if absent is not None:
                missing.append((tip.author, absent))
            found += batches
        return found, missing

    def _execute(self, block: Block, certificate: CheckedCertificate, batches: list[StoredBatch]) -> None:
        for stored in batches:
            self._append(stored)
        named = dict(self.mark.roots).get(max(block.height - 2, 0))
        assert named is None or named == block.state_root, (
            f"the certified header {block.height} names another root than this node computed after "
            f"{block.height - 2}; its state or a quorum is faulty"
        )
        digest = block_digest(block)
        places = [
            BatchRecord(stored.header.author, stored.header.sequence, stored.digest, stored.position)
            for stored in batches
            if stored.position is not None
        ]
        execution = self._state.execute(
            block,
            digest,
            certificate,
            places,
            [stored.decoded or stored.body for stored in batches],
            speculated=self._adopted(digest),
        )
        set_changes.keep(self._state, block, certificate)
        for tip in block.tips:
            self._tips[tip.author] = tip
        for stored in batches:
            # Oldest of a lane first: the last one is the tip.
            self._heads[stored.header.author] = stored.header
        self._batches.forget({tip.author: tip for tip in block.tips})
        roots = {**dict(self.mark.roots), block.height: execution.state_root}
        self.mark = ChainMark(
            height=block.height,
            time_ms=block.time_ms,
            digest=digest,
            heads=tuple(self._heads[author] for author in sorted(self._heads)),
            roots=tuple((h, r) for h, r in sorted(roots.items()) if h >= block.height - 2),
            last_work=block.height if block.works else self.mark.last_work,
            journal_from=0,
        )
        self._close_lanes(block.height)
        after = self._state.roster.term(block.height + AHEAD).set.pairs()
        happened = BlockExecuted(block.height, execution.state_root, execution.transactions, after)
        self._executed(happened, execution)
        self._waiting_final.append(Final(block, digest, certificate, execution))
        self._tell_final()
        if self._state.should_commit:
            self._commit_due.set()

    async def _keep(self, batches: list[StoredBatch]) -> None:
        """Queue batches for the journal no faster than the disk takes them: a block may have 8 MB a lane."""
        for stored in batches:
            self._append(stored)
            if self._journal.crowded:
                await self._journal.flush()

    def _append(self, stored: StoredBatch) -> None:
        """Queue a batch for the journal, unless that holds it."""
        if stored.position is None:
            record = encode_record(KeptBatch(stored.header, b"", stored.body))
            stored.position = self._journal.append(RecordKind.BATCH, record, urgent=not self._catches_up())

    def _close_lanes(self, height: int) -> None:
        """Drop the bodies of who left the set with this height: they live until their lane closes (Lanes
        4)."""
        term = self._state.roster.term
        if term(height) is term(height + 1):
            return
        coming = [term(height + ahead).set for ahead in range(1, AHEAD + 1)]
        leavers = [m.key for m in term(height).set if not any(m.key in members for members in coming)]
        if leavers:
            self._batches.close(leavers)

    def _durable(self, height: int) -> None:
        self._durable_height = max(self._durable_height, height)
        self._tell_final()

    def _tell_final(self) -> None:
        while self._waiting_final and self._waiting_final[0].block.height <= self._durable_height:
            self._final(self._waiting_final.popleft())

    def _journal_from(self) -> int:
        """Return where a replay must begin, once the state of this moment is committed."""
        held = [self._batches.oldest_position(), self._signed_from(), *(d[2] for d in self._decided)]
        return min((position for position in held if position is not None), default=self._journal.end)

    async def commit(self) -> None:
        """Make the state durable as it stands, after all that it points to in the journal: a mark beyond what
        the disk holds would have the next run read from the middle of its own records."""
        await self._state.commit(self._meta, self._journal.flush)

    def _meta(self, height: int) -> dict[bytes, bytes]:
        assert height == self.mark.height, f"the state is at {height}, the chain at {self.mark.height}"
        span = {"journal_from": self._journal_from(), "journal_to": self._journal.end}
        mark = msgspec.structs.replace(self.mark, **span)
        return {MARK: msgspec.msgpack.encode(mark)}

    async def commit_if_due(self) -> None:
        if self._state.should_commit:
            await self.commit()

    async def _commit_when_due(self) -> None:
        while True:
            self._commit_due = trio.Event()
            if self._state.should_commit:
                await self.commit()
                continue
            with trio.move_on_after(1.0):
                await self._commit_due.wait()
            if self.mark.height > self._state.durable_height:
                await self.commit()
