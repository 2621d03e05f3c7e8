"""Which evidence a block may commit, and what a node keeps of what it found."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from consensus.blocks import EVIDENCE_MAX, Block, block_digest
from consensus.chain import Chain, ChainStart
from consensus.convictions import (
    PIECES_OF_ONE,
    SEND_AGAIN_HEIGHTS,
    EvidencePool,
    evidence_stands,
    may_convict,
)
from consensus.dissemination.batches import BatchHeader
from consensus.evidence import BatchEquivocation, Evidence, VoteEquivocation, guilty, offence
from consensus.evidence_window import MARKS, EvidenceWindow
from consensus.validators import ValidatorSet
from consensus.votes import Vote, VoteKind

A, B, ROOT = b"a" * 32, b"b" * 32, bytes(32)
KEYS = [bytes((65 + i,)) * 32 for i in range(5)]
FOUR = ValidatorSet((key, 1) for key in KEYS[:4])
WINDOW_MS = 64_000


def chain(height: int = 10, members: ValidatorSet = FOUR) -> Chain:
    start = ChainStart(
        height=height,
        digest=A,
        time_ms=1_000,
        tips=(),
        roots={height: ROOT, height - 1: ROOT},
        sets={height + ahead: members for ahead in (1, 2, 3)},
        window=EvidenceWindow(((1, 0),)),
        window_ms=WINDOW_MS,
    )
    return Chain(start)


def votes(key: bytes, height: int = 9, round_: int = 0) -> Evidence:
    first = Vote(VoteKind.PREVOTE, height, round_, A, -1, 0, key, b"s")
    return VoteEquivocation(first, replace(first, value=B))


def batches(key: bytes, sequence: int = 1) -> Evidence:
    return BatchEquivocation(BatchHeader(key, sequence, A, A), BatchHeader(key, sequence, A, B))


def block(of: Chain, *evidence: Evidence, time_ms: int | None = None) -> Block:
    height = of.height + 1
    time_ms = of.time_ms + 1_000 if time_ms is None else time_ms
    return Block(height, of.digest, time_ms, KEYS[0], (), evidence, ROOT, FOUR.hash)


def decide(of: Chain, *evidence: Evidence, time_ms: int | None = None) -> None:
    made = block(of, *evidence, time_ms=time_ms)
    of.append(made, block_digest(made))


def execute(of: Chain, members: ValidatorSet = FOUR) -> None:
    of.executed_at(of.executed + 1, ROOT, members.pairs())


def test_a_block_may_convict_each_validator_once_and_by_one_piece() -> None:
    of = chain()
    assert evidence_stands(block(of, votes(KEYS[1]), batches(KEYS[2])), of)
    assert not evidence_stands(block(of, votes(KEYS[1]), votes(KEYS[1], round_=1)), of)
    decide(of, votes(KEYS[1]))
    execute(of)
    assert not evidence_stands(block(of, votes(KEYS[1], round_=1)), of)
    assert evidence_stands(block(of, votes(KEYS[2])), of)


def test_what_does_not_clash_convicts_nobody() -> None:
    piece = votes(KEYS[1])
    assert isinstance(piece, VoteEquivocation)
    assert not evidence_stands(block(chain(), VoteEquivocation(piece.first, piece.first)), chain())
    other = replace(piece.first, voter=KEYS[2], value=B)
    assert not evidence_stands(block(chain(), VoteEquivocation(piece.first, other)), chain())


def test_who_is_not_a_validator_is_not_convicted() -> None:
    assert not may_convict(votes(KEYS[4]), chain(), 11)


def test_who_joined_later_is_not_convicted_of_what_it_signed_before() -> None:
    of, five = chain(), ValidatorSet((key, 1) for key in KEYS)
    for _ in range(4):
        decide(of)
        execute(of, five)
    joined = 14
    assert of.member_since(KEYS[4], 15) == joined
    assert not may_convict(votes(KEYS[4], height=joined - 1), of, 15)
    assert may_convict(votes(KEYS[4], height=joined), of, 15)
    assert may_convict(votes(KEYS[1], height=joined - 1), of, 15)


def test_an_offence_older_than_the_window_is_forgiven() -> None:
    of = chain()
    pool = EvidencePool(of, [votes(KEYS[1], height=11)])
    decide(of)
    execute(of)
    assert pool.for_block() == (votes(KEYS[1], height=11),)
    decide(of, time_ms=of.time_ms + WINDOW_MS + 1)
    execute(of)
    assert not may_convict(votes(KEYS[1], height=11), of, 13)
    assert may_convict(votes(KEYS[1], height=12), of, 13)
    pool.decided()
    assert pool.pieces() == ()


def test_a_pool_keeps_a_few_pieces_of_each_guilty_and_gives_a_block_one() -> None:
    pool = EvidencePool(chain())
    assert [pool.add(votes(KEYS[1], round_=r)) for r in range(6)] == [True] * PIECES_OF_ONE + [False] * 2
    assert pool.add(batches(KEYS[2]))
    assert not pool.add(batches(KEYS[2]))
    assert pool.for_block() == (votes(KEYS[1]), batches(KEYS[2]))


def test_who_shows_what_it_signed_before_it_joined_is_not_safe_from_what_it_signs_later() -> None:
    """Nobody is convicted of the first, and it takes no place from the second."""
    of, five = chain(), ValidatorSet((key, 1) for key in KEYS)
    pool = EvidencePool(of)
    for _ in range(4):
        decide(of)
        execute(of, five)
        pool.decided()
        for round_ in range(PIECES_OF_ONE):
            pool.add(votes(KEYS[4], height=9, round_=round_))
    assert pool.add(votes(KEYS[4], height=14))
    assert pool.for_block() == (votes(KEYS[4], height=14),)


class Story(msgspec.Struct, frozen=True):
    """One height: what is found, in order, whether its block has evidence, and how long it took."""

    found: tuple[tuple[int, int, int], ...]
    """(validator, height signed at, round)."""
    seconds: int
    empty: bool


STORIES = st.lists(
    st.builds(
        Story,
        st.lists(st.tuples(st.integers(0, 4), st.integers(1, 40), st.integers(0, 5)), max_size=8).map(tuple),
        st.integers(1, 20),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@given(STORIES)
def test_pools_fill_blocks_that_stand_and_all_who_can_be_convicted_soon_are(stories: list[Story]) -> None:
    """Whatever is found, by whoever and of whatever height: a node that found nothing judges the block alike,
    nobody is convicted twice or by what is too old or was signed before it joined, and no piece that can't
    convict keeps out one that does."""
    of, members = chain(), FOUR
    pool, convicted = EvidencePool(of), set[bytes]()
    for story in stories:
        for who, height, round_ in story.found:
            pool.add(votes(KEYS[who], height, round_))
            owed = may_convict(votes(KEYS[who], height, round_), of, of.height + 1)
            assert not owed or KEYS[who] in {guilty(piece) for piece in pool.for_block()}
        pieces = () if story.empty else pool.for_block()
        made = block(of, *pieces, time_ms=of.time_ms + 1_000 * story.seconds)
        assert evidence_stands(made, of)
        told = [guilty(piece) for piece in pieces]
        assert len(set(told)) == len(told)
        assert convicted.isdisjoint(told)
        convicted.update(told)
        of.append(made, block_digest(made))
        # Who was convicted leaves; the fifth joins with the third block, unless it was convicted before.
        joined = (*members.pairs(), (KEYS[4], 1)) if of.height == 13 else members.pairs()
        members = ValidatorSet.of(joined).without(told)
        execute(of, members)
        pool.decided()
        assert convicted.isdisjoint(guilty(piece) for piece in pool.pieces())
        assert len(pool.pieces()) <= PIECES_OF_ONE * len(KEYS)


def test_a_block_takes_no_more_pieces_than_it_may() -> None:
    many = [bytes((i,)) * 32 for i in range(EVIDENCE_MAX + 4)]
    of = chain(members=ValidatorSet((key, 1) for key in many))
    pool = EvidencePool(of, [votes(key) for key in many])
    assert len(pool.for_block()) == EVIDENCE_MAX
    assert evidence_stands(block(of, *pool.for_block()), of)


def test_what_a_block_committed_waits_no_more_and_what_waits_long_is_sent_again() -> None:
    of = chain(height=2 * SEND_AGAIN_HEIGHTS - 3)
    pool = EvidencePool(of, [votes(KEYS[1]), votes(KEYS[1], round_=1), votes(KEYS[2])])
    sent = []
    for evidence in ((votes(KEYS[1]),), (), ()):
        decide(of, *evidence)
        execute(of)
        sent.append(pool.decided())
    assert pool.pieces() == (votes(KEYS[2]),)
    assert sent == [(), (), (votes(KEYS[2]),)]
    assert not pool.wants(votes(KEYS[1], round_=2))


def test_a_piece_found_while_execution_lags_is_kept() -> None:
    of = chain()
    decide(of)
    decide(of)
    assert of.validators(of.height + 2) is None
    pool = EvidencePool(of, [votes(KEYS[1])])
    assert pool.for_block() == ()
    execute(of)
    execute(of)
    assert pool.for_block() == (votes(KEYS[1]),)


@given(st.lists(st.integers(1, WINDOW_MS // 4), min_size=1, max_size=400))
def test_the_window_is_its_length_but_for_a_64th_and_its_marks_are_bounded(steps: list[int]) -> None:
    window, times = EvidenceWindow(), [0]
    for height, step in enumerate(steps, start=1):
        times.append(times[-1] + step)
        window = window.after(height, times[-1], WINDOW_MS)
        begin = times[-1] - WINDOW_MS
        assert times[window.first] >= begin, "an offence beyond the window counts"
        forgiven = times[window.first - 1]
        assert window.first == 1 or (forgiven - begin) * MARKS < WINDOW_MS, (
            "an offence inside is forgiven too early"
        )
        assert len(window.marks) <= MARKS + 1


def test_every_piece_says_whom_it_convicts_of_what() -> None:
    assert offence(votes(KEYS[1], 9, 2)) == offence(votes(KEYS[1], 9, 2))
    said = offence(votes(KEYS[1], 9, 2))
    assert (said.guilty, said.kind, said.height, said.round) == (KEYS[1], "prevote", 9, 2)
    said = offence(batches(KEYS[2], 7))
    assert (said.guilty, said.kind, said.height, said.sequence) == (KEYS[2], "batch", None, 7)
    assert guilty(batches(KEYS[2])) == KEYS[2]


@given(st.lists(st.integers(0, 5), max_size=8))
def test_convicts_leave_the_set_and_its_last_member_stays(convicted: list[int]) -> None:
    left = FOUR.without([bytes((65 + i,)) * 32 for i in convicted])
    out = {key for i, key in enumerate(KEYS[:4]) if i in convicted}
    assert len(left) == max(1, 4 - len(out))
    if len(out) < 4:
        assert set(left.powers) == set(FOUR.powers) - out
