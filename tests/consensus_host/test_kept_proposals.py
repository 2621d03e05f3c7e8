"""A block that was voted for outlives restarts until its height is decided, whatever else is proposed, and
whoever lacks it gets it from the next run."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import trio

from consensus.blocks import Block, CheckedProposal, Proposal, block_digest
from consensus.effects import CastVote, Effect
from consensus.guard import Guard
from consensus.inputs import Input, Started
from consensus.votes import Vote, VoteKind
from prsm_node.consensus_host.answers import Answers
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.fetcher import BlockAnswer
from prsm_node.consensus_host.host import ConsensusHost
from prsm_node.consensus_host.proposal_store import HEARD_MAX
from prsm_node.consensus_host.recovery import PROPOSALS_MAX, Recovered, recover
from prsm_node.storage.journal import Journal
from prsm_node.storage.journal_writer import InlineWriter
from prsm_node.wire.payloads import BlockWanted
from tests.consensus_host import hosts

ONE = b"\x01" * 32


def proposal(height: int, round_: int = 0) -> CheckedProposal:
    block = Block(height, ONE, 1_000 + round_, ONE, (), (), ONE, ONE)
    return CheckedProposal(Proposal(round_, -1, ONE, block, None, bytes(64)))


class Voter:
    """A replica at a height, that prevotes the next of some proposals at each step, then nothing."""

    def __init__(self, height: int, *proposals: CheckedProposal) -> None:
        self.proposals = {each.round: each for each in proposals}
        judged = SimpleNamespace(proposal=self.proposals.get)
        self.height = SimpleNamespace(height=height, proposals=judged)
        self._left = list(proposals)

    def step(self, happened: Input, now_ms: int) -> list[Effect]:
        if not self._left:
            return []
        voted, height = self._left.pop(0), self.height.height
        vote = Vote(VoteKind.PREVOTE, height, voted.round, block_digest(voted.block), -1, 0, b"v" * 32)
        first = block_digest(next(iter(self.proposals.values())).block)
        return [CastVote(vote, Guard(height=height, round=voted.round, valid_round=0, valid_value=first))]


def host_of(voter: Voter, journal: Journal, recovered: Recovered | None = None) -> ConsensusHost:
    signer = SimpleNamespace(vote=lambda vote: vote)
    outbox = SimpleNamespace(broadcast=lambda kind, message: None)
    return hosts.host_of(voter, recovered=recovered, journal=journal, signer=signer, outbox=outbox)


async def recovered_from(journal: Journal, begin: int | None) -> Recovered:
    none = SimpleNamespace(sequence=0)
    executor = SimpleNamespace(mark=SimpleNamespace(height=4), executed_tip=lambda author: none)
    return await recover(journal, begin, BatchStore(), cast(Any, executor))


def answered(host: ConsensusHost, wanted: CheckedProposal) -> CheckedProposal | None:
    """What a peer gets that asks for this proposal's block."""
    answers = Answers.__new__(Answers)
    answers._host = host
    answers._state = cast(Any, SimpleNamespace(block=lambda height: None))
    raw = answers._block(1, BlockWanted(wanted.height, block_digest(wanted.block)))
    if raw is None:
        return None
    found = msgspec.msgpack.decode(raw, type=BlockAnswer).proposal
    assert found is not None
    return CheckedProposal(found)


async def test_what_was_voted_for_is_found_by_the_next_run_and_by_the_one_after(tmp_path: Path) -> None:
    begin, recovered = None, None
    for run in range(4):
        voter = Voter(5, proposal(5))
        journal = Journal.open(tmp_path, writer=InlineWriter)
        if run > 0:
            recovered = await recovered_from(journal, begin)
            assert recovered.proposals == [proposal(5)], "the only copy may be here"
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            host = host_of(voter, journal, recovered)
            if run == 0:
                host.feed(Started())
            else:
                assert answered(host, proposal(5)) == proposal(5), "who has a polka and no block asks for it"
            begin = host.casting._kept.needed_from(5)
            await journal.flush()
            nursery.cancel_scope.cancel()
        journal.close()


async def test_a_flood_of_proposals_pushes_out_nothing_that_was_voted_for(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, writer=InlineWriter)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        host = host_of(Voter(5, proposal(5)), journal)
        host.feed(Started())
        written = journal.end
        flood = [proposal(5, round_) for round_ in range(1, 300)]
        for each in flood:
            host.proposals.hear(each)
        assert journal.end == written, "what is only heard costs the disk nothing"
        assert sum(answered(host, each) is not None for each in flood) == HEARD_MAX
        assert answered(host, proposal(5)) == proposal(5)
        await journal.flush()
        nursery.cancel_scope.cancel()
    journal = Journal.open(tmp_path, writer=InlineWriter)
    assert (await recovered_from(journal, None)).proposals == [proposal(5)]
    journal.close()


async def test_what_the_guard_holds_to_comes_back_however_many_rounds_went_by(tmp_path: Path) -> None:
    rounds = [proposal(5, round_) for round_ in range(3 * PROPOSALS_MAX)]
    journal = Journal.open(tmp_path, writer=InlineWriter)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        host = host_of(Voter(5, *rounds), journal)
        for _ in rounds:
            host.feed(Started())
        await journal.flush()
        nursery.cancel_scope.cancel()
    journal = Journal.open(tmp_path, writer=InlineWriter)
    recovered = await recovered_from(journal, None)
    assert recovered.guard.valid_value == block_digest(rounds[0].block)
    assert recovered.proposals == [rounds[0], *rounds[-PROPOSALS_MAX:]]
    host = host_of(Voter(5), journal, recovered)
    assert all(answered(host, each) == each for each in rounds), "of all that this validator voted for"
    journal.close()


async def test_nothing_is_kept_of_a_decided_height(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, writer=InlineWriter)
    for height in range(1, 50):
        voter = Voter(height, proposal(height))
        host = host_of(voter, journal)
        begin = journal.end
        host.feed(Started())
    assert host.casting._kept.needed_from(49) == begin
    voter.height = SimpleNamespace(height=50)
    assert host.proposals.oldest_position(50) is None
    journal.close()
