"""What is signed leaves once the disk holds it, whatever else would have it sent before: a crash between the
two would have it signed again, and otherwise."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import trio

from consensus.blocks import block_digest
from consensus.dissemination.acknowledgements import Acknowledgement
from consensus.dissemination.batches import EMPTY_LANE, BatchHeader, batch_digest
from consensus.effects import CastAcknowledgement, CastBatch, CastProposal, CastVote, Effect, SendAgain
from consensus.guard import Guard, Step
from consensus.inputs import BatchCast, Input, ProposalCast, Started, VoteCast
from consensus.votes import Vote, VoteKind
from prsm_node.consensus_host.answers import Answers
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.host import ConsensusHost
from prsm_node.storage.journal import Journal
from prsm_node.storage.journal_writer import InlineWriter
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import BatchWanted, BlockWanted
from tests.consensus_host import hosts
from tests.consensus_host.test_kept_proposals import ONE, proposal

HEIGHT = 5
PROPOSED = proposal(HEIGHT)


class Signing:
    """A replica that proposes, then prevotes nil; asked for nothing in particular, it sends all again."""

    def __init__(self) -> None:
        vote = Vote(VoteKind.PREVOTE, HEIGHT, 0, None, -1, 0, ONE)
        self.height = SimpleNamespace(height=HEIGHT)
        self._left: list[Effect] = [
            CastProposal(PROPOSED, Guard(height=HEIGHT)),
            CastVote(vote, Guard(height=HEIGHT, step=Step.PREVOTE)),
        ]

    def step(self, happened: Input, now_ms: int) -> list[Effect]:
        if isinstance(happened, BatchCast | ProposalCast | VoteCast):
            return []
        return [self._left.pop(0)] if self._left else [SendAgain(HEIGHT)]


async def test_what_is_not_durable_is_sent_neither_to_a_new_link_nor_again(tmp_path: Path) -> None:
    sent: list[Kind] = []
    outbox = SimpleNamespace(
        broadcast=lambda kind, message: sent.append(kind), send=lambda link, kind, message: sent.append(kind)
    )
    signer = SimpleNamespace(vote=lambda vote: vote, proposal=lambda drafted: drafted)
    journal = Journal.open(tmp_path, writer=InlineWriter)
    host: ConsensusHost = hosts.host_of(Signing(), journal=journal, signer=signer, outbox=outbox)

    def again() -> list[Kind]:
        sent.clear()
        host.casting.link_up(1)
        host.casting.send_again(SendAgain(HEIGHT))
        return list(sent)

    host.feed(Started())
    assert again() == [], "the proposal waits for the disk"
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        await journal.flush()
        assert again() == [Kind.PROPOSAL] * 2
        host.feed(Started())
        assert again() == [Kind.PROPOSAL] * 2, "the vote waits for the disk"
        await journal.flush()
        assert again() == [Kind.PROPOSAL, Kind.VOTE] * 2
        host.feed(Started())
        assert sent == [Kind.PROPOSAL, Kind.VOTE] * 3, "by the replica's own asking too"
        nursery.cancel_scope.cancel()


async def test_nothing_is_acknowledged_while_the_disk_does_not_keep_up(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, writer=InlineWriter, queue_bytes_max=40_000)
    signer = SimpleNamespace(acknowledgement=lambda given: given)
    sent: list[Kind] = []
    outbox = SimpleNamespace(link_of=lambda key: 1, send=lambda link, kind, message: sent.append(kind))
    batches = BatchStore()
    host: ConsensusHost = hosts.host_of(
        Signing(), journal=journal, signer=signer, outbox=outbox, batches=batches
    )
    asked = []
    for sequence in range(1, 5):
        stored = batches.put(BatchHeader(ONE, sequence, EMPTY_LANE, ONE), bytes(6_000))
        asked.append(CastAcknowledgement(stored.header, Acknowledgement(ONE, sequence, stored.digest, ONE)))
    for effect in asked:
        host.casting.cast_acknowledgement(effect)
    assert [stored.acknowledging for stored in batches.all()] == [True, True, False, False]
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        await journal.flush()
        for effect in asked:
            host.casting.cast_acknowledgement(effect)
        await journal.flush()
        nursery.cancel_scope.cancel()
    assert all(stored.acknowledged for stored in batches.all()), (
        "its author sends it again, and all is made up"
    )


async def test_what_is_not_durable_is_given_to_nobody_who_asks(tmp_path: Path) -> None:
    """The value of a block that is proposed again is known to all, and a batch's digest can be guessed by who
    sent all that is in it."""
    journal = Journal.open(tmp_path, writer=InlineWriter)
    outbox = SimpleNamespace(broadcast=lambda kind, message: None)
    signer = SimpleNamespace(
        proposal=lambda drafted: drafted, batch=lambda header: header, acknowledgement=lambda given: given
    )
    batches = BatchStore()
    host: ConsensusHost = hosts.host_of(
        Signing(), journal=journal, signer=signer, outbox=outbox, batches=batches
    )
    answers = Answers.__new__(Answers)
    answers._host, answers._batches = host, batches
    answers._state = cast(Any, SimpleNamespace(block=lambda height: None))
    header = BatchHeader(ONE, 1, EMPTY_LANE, ONE)

    def given() -> list[bool]:
        block = answers._block(1, BlockWanted(HEIGHT, block_digest(PROPOSED.block)))
        return [block is not None, answers._batch(1, BatchWanted(batch_digest(header))) is not None]

    host.casting.cast_batch(CastBatch(header))
    host.feed(Started())
    assert given() == [False, False]
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        await journal.flush()
        assert given() == [True, True]
        nursery.cancel_scope.cancel()
