"""Execution ahead of the decision: from the polka on, seen by nobody until the same block is decided."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import msgspec
import trio
import trio.testing

from consensus.blocks import Block, Tip, block_digest
from consensus.certificates import CertificateVote, CheckedCertificate
from consensus.dissemination.batches import EMPTY_LANE, BatchHeader, batch_digest
from consensus.inputs import BlockExecuted
from consensus.validators import ValidatorSet
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.chain_mark import first_mark
from prsm_node.consensus_host.executor import Executor, Final
from prsm_node.storage.executed_block import Execution
from prsm_node.storage.journal import Journal
from prsm_node.storage.journal_writer import InlineWriter
from prsm_node.storage.state import State
from tests.storage.made_chain import AUTHOR, NO_DIGEST, Chain, address, commit_of, transfer

NEW = address(999)
BODY = msgspec.msgpack.encode([transfer(address(0), 0, (NEW, 5)), transfer(address(1), 0, (address(2), 7))])
RIVAL = msgspec.msgpack.encode([transfer(address(0), 0, (address(3), 9))])


class NoPeers:
    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def batch(self, author: bytes, digest: bytes, link: int) -> None:
        self.asked.append(digest)

    def lacking(self, block: Block) -> None:
        """Nobody has it."""


class Node:
    """An executor over a real state and journal, and what it told."""

    def __init__(self, state: State, journal: Journal) -> None:
        self.state = state
        self.batches = BatchStore()
        self.peers = NoPeers()
        self.told: list[str] = []
        root = state.state_root(0)
        assert root is not None
        self.executor = Executor(
            state=state,
            mark=first_mark(state.digest, state.time_ms, root, 0),
            batches=self.batches,
            journal=journal,
            wanter=self.peers,
            validators=lambda height: ValidatorSet([(AUTHOR, 1)]),
            executed=self.executed,
            final=self.final,
            signed_from=lambda: None,
        )

    def executed(self, happened: BlockExecuted, execution: Execution) -> None:
        self.told.append(f"executed {happened.height}")

    def final(self, final: Final) -> None:
        self.told.append(f"final {final.block.height}")

    def block_of(self, body: bytes, at_hand: bool = True) -> Block:
        header = BatchHeader(AUTHOR, 1, EMPTY_LANE, sha256(body).digest(), b"s" * 64)
        if at_hand:
            self.batches.put(header, body)
        root = self.state.header_root(1)
        assert root is not None
        tips = (Tip(AUTHOR, 1, batch_digest(header)),)
        return Block(1, self.state.digest, 2_000, AUTHOR, tips, (), root, NO_DIGEST)

    async def decide(self, block: Block) -> None:
        self.executor.decide(block, CheckedCertificate(commit_of(block.height, block_digest(block))))
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[Node]:
    state, journal = Chain().open(home / "state"), Journal.open(home / "journal", writer=InlineWriter)
    node = Node(state, journal)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        nursery.start_soon(node.executor.run)
        yield node
        nursery.cancel_scope.cancel()
    state.close()


async def root_of(home: Path, body: bytes, polkas: Callable[[Node], list[Block]]) -> bytes:
    """The root after deciding the block of this body, with these polkas before it."""
    async with running(home) as node:
        for block in polkas(node):
            node.executor.prepare(block)
            await trio.testing.wait_all_tasks_blocked()
        await node.decide(node.block_of(body))
        root = node.state.state_root(1)
        assert root is not None
        assert node.told == ["executed 1", "final 1"]
        return root


async def test_a_polka_starts_execution_and_nobody_sees_it_before_the_decision(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        block = node.block_of(BODY)
        node.executor.prepare(block)
        await trio.testing.wait_all_tasks_blocked()
        assert node.executor.counters == {"speculated": 1, "adopted": 0}
        assert (node.told, node.state.height, node.state.account(NEW)) == ([], 0, None)
        await node.decide(block)
        assert node.executor.counters == {"speculated": 1, "adopted": 1}
        assert node.told == ["executed 1", "final 1"]
        assert node.state.account(NEW) is not None


async def test_another_block_than_that_of_the_polka_is_decided_as_if_there_had_been_none(
    tmp_path: Path,
) -> None:
    plain = await root_of(tmp_path / "plain", RIVAL, lambda node: [])
    assert await root_of(tmp_path / "rival", RIVAL, lambda node: [node.block_of(BODY)]) == plain
    both = await root_of(
        tmp_path / "both",
        RIVAL,
        lambda node: [node.block_of(BODY), node.block_of(RIVAL), node.block_of(BODY)],
    )
    assert both == plain


async def test_a_block_whose_batches_are_not_at_hand_is_asked_for_and_waits_for_its_decision(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as node:
        block = node.block_of(BODY, at_hand=False)
        node.executor.prepare(block)
        await trio.testing.wait_all_tasks_blocked()
        assert node.peers.asked == [block.tips[0].digest]
        assert node.executor.counters["speculated"] == 0
        node.block_of(BODY)
        await node.decide(block)
        assert node.told == ["executed 1", "final 1"]


async def test_a_commit_that_grows_while_its_block_waits_for_a_batch_is_kept_with_what_it_grew_by(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as node:
        block = node.block_of(BODY, at_hand=False)
        await node.decide(block)
        commit = commit_of(1, block_digest(block))
        for voters in (3, 4):
            commit = msgspec.structs.replace(
                commit, votes=tuple(CertificateVote(bytes([i]) * 32, 0, b"s" * 64) for i in range(voters))
            )
            node.executor.strengthen(CheckedCertificate(commit))
        assert node.state.height == 0
        node.block_of(BODY)
        await trio.testing.wait_all_tasks_blocked()
        assert node.told == ["executed 1", "final 1"]
        stored = node.state.block(1)
        assert stored is not None
        assert stored.commit == commit


async def test_a_block_larger_than_what_may_wait_for_the_disk_is_kept_as_the_disk_takes_it(
    tmp_path: Path,
) -> None:
    """A node that was away gets it whole; the journal's end would be the daemon's, at each start again."""
    state = Chain().open(tmp_path / "state")
    journal = Journal.open(tmp_path / "journal", writer=InlineWriter, queue_bytes_max=300_000)
    node = Node(state, journal)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        nursery.start_soon(node.executor.run)
        lane, root = EMPTY_LANE, state.header_root(1)
        assert root is not None
        for sequence in range(1, 11):
            body = msgspec.msgpack.encode([bytes(100_000)])
            header = BatchHeader(AUTHOR, sequence, lane, sha256(body).digest(), b"s" * 64)
            node.batches.put(header, body)
            lane = batch_digest(header)
        tips = (Tip(AUTHOR, 10, lane),)
        await node.decide(Block(1, state.digest, 2_000, AUTHOR, tips, (), root, NO_DIGEST))
        assert node.told == ["executed 1", "final 1"]
        nursery.cancel_scope.cancel()
    state.close()
