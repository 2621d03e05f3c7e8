"""A block that was voted for outlives restarts until its height is decided, and is kept no longer."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import trio

from consensus.blocks import Block, CheckedProposal, Proposal
from consensus.effects import CastVote, Effect
from consensus.guard import Guard
from consensus.inputs import Input, Started
from consensus.votes import Vote, VoteKind
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.host import ConsensusHost
from prsm_node.consensus_host.recovery import Recovered, recover
from prsm_node.storage.journal import Journal
from prsm_node.storage.journal_writer import InlineWriter

ONE = b"\x01" * 32


def proposal(height: int, round_: int = 0) -> CheckedProposal:
    block = Block(height, ONE, 1_000 + round_, ONE, (), (), ONE, ONE)
    return CheckedProposal(Proposal(round_, -1, ONE, block, None, bytes(64)))


class Voter:
    """A replica at a height, that votes there at each step."""

    def __init__(self, height: int) -> None:
        self.height = SimpleNamespace(height=height)
        self._round = 0

    def step(self, happened: Input, now_ms: int) -> list[Effect]:
        self._round += 1
        height = self.height.height
        vote = Vote(VoteKind.PREVOTE, height, self._round, None, -1, 0, b"v" * 32)
        return [CastVote(vote, Guard(height=height, round=self._round))] if self._round < 3 else []


def host_of(voter: Voter, journal: Journal, recovered: Recovered | None = None) -> ConsensusHost:
    parts = dict.fromkeys(ConsensusHost.__init__.__annotations__.keys() - {"return"}, cast(Any, None))
    parts |= {
        "replica": voter,
        "now_ms": lambda: 0,
        "journal": journal,
        "signer": SimpleNamespace(vote=lambda vote: vote),
        "outbox": SimpleNamespace(broadcast=lambda kind, message: None),
        "guard": recovered.guard if recovered else Guard(),
        "guard_position": recovered.guard_position if recovered else None,
        "proposals_from": recovered.proposals_from if recovered else {},
    }
    return ConsensusHost(**parts)


async def recovered_from(journal: Journal, begin: int | None) -> Recovered:
    executor = SimpleNamespace(mark=SimpleNamespace(height=4))
    return await recover(journal, begin, BatchStore(), cast(Any, executor))


async def test_what_was_voted_for_is_found_by_the_next_run_and_by_the_one_after(tmp_path: Path) -> None:
    voter, begin, recovered = Voter(4), None, None
    for run in range(4):
        journal = Journal.open(tmp_path, writer=InlineWriter)
        if run > 0:
            recovered = await recovered_from(journal, begin)
            assert recovered.proposals == [proposal(5)], "the only copy may be here"
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            host = host_of(voter, journal, recovered)
            if run == 0:
                host.feed(Started())
                voter.height = SimpleNamespace(height=5)
                host.keep_proposal(proposal(5))
                host.feed(Started())
            begin = host.signed_from()
            await journal.flush()
            nursery.cancel_scope.cancel()
        journal.close()


async def test_a_node_that_only_follows_needs_no_proposal_of_a_decided_height(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, writer=InlineWriter)
    voter = Voter(1)
    host = host_of(voter, journal)
    for height in range(1, 50):
        voter.height = SimpleNamespace(height=height)
        host.keep_proposal(proposal(height))
        begin = journal.end
        host.keep_proposal(proposal(height + 1))
    voter.height = SimpleNamespace(height=50)
    assert host.signed_from() == begin, "a restart would read all that this run was told"
    assert len(host._proposals_from) == 1
    voter.height = SimpleNamespace(height=51)
    assert host.signed_from() is None
    journal.close()
