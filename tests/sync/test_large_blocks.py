"""A block whose batches no single answer holds is served, fetched and executed; who falsifies a part of it is
named, and nobody else."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import trio
import trio.testing
from msgspec.structs import replace

from consensus.blocks import Block, Tip
from consensus.dissemination.batches import EMPTY_LANE, batch_digest
from prsm_node.consensus_host.answers import BLOCKS_BYTES_MAX, Answers, SyncedBlock
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.outbox import Refusal
from prsm_node.consensus_host.records import KeptBatch, RecordKind, encode_record
from prsm_node.network.asking import ANSWER_BYTES_MAX
from prsm_node.storage.blocks import BatchRecord
from prsm_node.storage.journal import Journal
from prsm_node.storage.journal_writer import InlineWriter
from prsm_node.sync.blocks import BlockSync
from prsm_node.sync.large_blocks import whole
from prsm_node.sync.sources import Lie, Sources
from prsm_node.wire.payloads import Batch, BlocksWanted, Committed, RestWanted, Wanted
from tests.sync.chains import FIRST_SET, NETWORK, Follower, MadeChain, certified, sealed, set_of
from tests.sync.peers import Behaviour, Peers

HEIGHT = 3
BODY_BYTES = 250_000
LANE = 24
HONEST = 9


def large_chain() -> MadeChain:
    """Two small blocks, and one of three lanes by 24 batches of 250 KB each."""
    chain = MadeChain(HEIGHT - 1)
    batches: list[Batch] = []
    tips = []
    for key in sorted(FIRST_SET[:3], key=lambda key: key.public):
        lane = EMPTY_LANE
        for sequence in range(1, LANE + 1):
            batches.append(sealed(key, sequence, lane, bytes((sequence,)) * BODY_BYTES))
            lane = batch_digest(batches[-1].header)
        tips.append(Tip(key.public, LANE, lane))
    block = Block(
        height=HEIGHT,
        parent=chain.digest(HEIGHT - 1),
        time_ms=HEIGHT,
        proposer=FIRST_SET[0].public,
        tips=tuple(tips),
        evidence=(),
        state_root=bytes(32),
        next_validators=set_of(FIRST_SET).hash,
    )
    chain.items.append(SyncedBlock(Committed(block, certified(block, FIRST_SET[:3])), tuple(batches)))
    return chain


CHAIN = large_chain()
WHOLE = CHAIN.items[-1]
SIGNED = Checks(NETWORK).batch
STOOD = {tip.author: EMPTY_LANE for tip in WHOLE.committed.block.tips}


@pytest.fixture(name="answers")
def made_answers(tmp_path: Path) -> Answers:
    """What a node answers that has executed the chain."""
    journal, blocks = Journal.open(tmp_path, writer=InlineWriter), {}
    for height, item in enumerate(CHAIN.items, start=1):
        places = []
        for batch in item.batches:
            position = journal.append(
                RecordKind.BATCH, encode_record(KeptBatch(batch.header, b"", batch.body))
            )
            header = batch.header
            places.append(BatchRecord(header.author, header.sequence, batch_digest(header), position))
        executed = SimpleNamespace(block=item.committed.block, batches=tuple(places))
        blocks[height] = SimpleNamespace(record=executed, commit=item.committed.certificate)
    answers = Answers.__new__(Answers)
    answers._journal = journal
    answers._state = cast(Any, SimpleNamespace(block=blocks.get, first_block=1))
    return answers


def answering(
    answers: Answers, lie: Callable[[Wanted, bytes], bytes] = lambda _, answer: answer
) -> Behaviour:
    async def behave(wanted: Wanted) -> bytes | Refusal:
        await trio.sleep(0.01)
        answer = await answers.answer(1, wanted)
        assert answer is None or len(answer) < BLOCKS_BYTES_MAX + 100_000 < ANSWER_BYTES_MAX
        return Refusal.ABSENT if answer is None else lie(wanted, answer)

    return behave


async def fetched(peers: Peers) -> Follower:
    chain = Follower(CHAIN, dict.fromkeys(peers.behaviours, HEIGHT))
    sync = BlockSync(chain, peers)
    with trio.fail_after(60.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chain.run)
            nursery.start_soon(sync.run)
            await chain.executed(HEIGHT)
            nursery.cancel_scope.cancel()
    return chain


async def test_a_block_that_no_answer_holds_comes_in_parts(
    answers: Answers, autojump_clock: trio.testing.MockClock
) -> None:
    assert sum(len(batch.body) for batch in WHOLE.batches) > ANSWER_BYTES_MAX
    peers = Peers({1: answering(answers), 2: answering(answers)})
    chain = await fetched(peers)
    assert chain.kept == list(WHOLE.batches), "oldest of a lane first, as lanes take them"
    assert not peers.faults


def in_another_order(wanted: Wanted, answer: bytes) -> bytes:
    """What others send would not go on from it."""
    items = msgspec.msgpack.decode(answer, type=tuple[SyncedBlock, ...])
    return msgspec.msgpack.encode(tuple(replace(item, batches=(WHOLE.batches[-1],)) for item in items))


def another_body(batches: tuple[Batch, ...]) -> bytes:
    return msgspec.msgpack.encode((*batches[:-1], replace(batches[-1], body=b"\x90")))


def one_too_many(batches: tuple[Batch, ...]) -> bytes:
    return msgspec.msgpack.encode((*batches, batches[-1]))


def nothing(batches: tuple[Batch, ...]) -> bytes:
    return msgspec.msgpack.encode(())


def another_signature(batches: tuple[Batch, ...]) -> bytes:
    """A digest does not cover it."""
    forged = replace(batches[0], header=replace(batches[0].header, signature=bytes(64)))
    return msgspec.msgpack.encode((forged, *batches[1:]))


def one_at_a_time(batches: tuple[Batch, ...]) -> bytes:
    return msgspec.msgpack.encode(batches[:1])


def unreadable(batches: tuple[Batch, ...]) -> bytes:
    return b"\xc0"


@pytest.mark.parametrize(
    "lie", [another_body, another_signature, one_at_a_time, one_too_many, nothing, unreadable]
)
async def test_who_falsifies_a_part_is_blamed_and_the_rest_comes_from_others(
    lie: Callable[[tuple[Batch, ...]], bytes], answers: Answers, autojump_clock: trio.testing.MockClock
) -> None:
    def lies(wanted: Wanted, answer: bytes) -> bytes:
        return lie(msgspec.msgpack.decode(answer, type=tuple[Batch, ...]))

    peers = Peers({1: answering(answers, lies), HONEST: answering(answers)})
    begun = replace(WHOLE, batches=(), left=1)
    assert await whole(begun, STOOD.__getitem__, Sources(peers), lambda: [1, HONEST], SIGNED) == WHOLE
    assert set(peers.blamed()) == {1}


async def test_who_gives_the_first_part_is_not_blamed_for_anothers_rest(
    answers: Answers, autojump_clock: trio.testing.MockClock
) -> None:
    def lies(wanted: Wanted, answer: bytes) -> bytes:
        return another_signature(msgspec.msgpack.decode(answer, type=tuple[Batch, ...]))

    forged = answering(answers, lies)

    async def gives_rests(wanted: Wanted) -> bytes | Refusal:
        return await forged(wanted) if isinstance(wanted, RestWanted) else Refusal.ABSENT

    async def slow(wanted: Wanted) -> bytes | Refusal:
        await trio.sleep(1.0)
        return await answering(answers)(wanted)

    peers = Peers({1: gives_rests, HONEST: slow})
    assert (await fetched(peers)).kept == list(WHOLE.batches)
    assert set(peers.blamed()) == {1}


async def test_a_small_block_in_parts_is_its_givers_lie(
    answers: Answers, autojump_clock: trio.testing.MockClock
) -> None:
    def hollow(wanted: Wanted, answer: bytes) -> bytes:
        if not isinstance(wanted, BlocksWanted):
            return answer
        items = msgspec.msgpack.decode(answer, type=tuple[SyncedBlock, ...])
        return msgspec.msgpack.encode(tuple(replace(item, batches=(), left=1) for item in items))

    peers = Peers({1: answering(answers, hollow), HONEST: answering(answers)})
    await fetched(peers)
    assert set(peers.blamed()) == {1}


async def test_what_begins_otherwise_than_the_block_is_its_givers_lie(answers: Answers) -> None:
    begun = replace(WHOLE, batches=(WHOLE.batches[-1],), left=1)
    with pytest.raises(Lie):
        await whole(
            begun, STOOD.__getitem__, Sources(Peers({HONEST: answering(answers)})), lambda: [HONEST], SIGNED
        )


async def test_a_large_block_that_this_node_decided_is_brought_in_whole(
    answers: Answers, autojump_clock: trio.testing.MockClock
) -> None:
    peers = Peers({1: answering(answers, in_another_order), HONEST: answering(answers)})
    chain = Follower(CHAIN, dict.fromkeys(peers.behaviours, HEIGHT))
    chain.taken = [item.committed for item in CHAIN.items]
    chain._done = HEIGHT - 1
    sync = BlockSync(chain, peers)
    with trio.move_on_after(10.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sync.run)
            sync.lack(CHAIN.block(HEIGHT))
            await trio.sleep_forever()
    assert chain.kept == list(WHOLE.batches)
    assert HONEST not in peers.blamed()
