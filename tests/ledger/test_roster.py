"""Who validates, as blocks change it."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from consensus.blocks import Block
from consensus.chain import Chain, ChainStart
from consensus.evidence import Evidence, VoteEquivocation
from consensus.validators import ValidatorSet
from consensus.votes import Vote, VoteKind
from prsm_node.ledger.roster import AHEAD, Roster

A, ROOT = b"a" * 32, bytes(32)
KEYS = [bytes((65 + i,)) * 32 for i in range(4)]
FOUR = tuple((key, 10) for key in KEYS)
WINDOW_MS = 64_000


def votes(key: bytes) -> Evidence:
    first = Vote(VoteKind.PRECOMMIT, 2, 1, A, -1, 0, key, b"s")
    return VoteEquivocation(first, replace(first, value=ROOT))


def block(height: int, *convicts: int) -> Block:
    evidence = tuple(votes(KEYS[i]) for i in convicts)
    return Block(height, A, 1_000 * height, KEYS[0], (), evidence, ROOT, ROOT)


def after(*blocks: Block) -> Roster:
    roster = Roster.founded(FOUR)
    for made in blocks:
        roster = roster.after(made, WINDOW_MS)
    return roster


def test_a_conviction_in_block_h_is_in_force_from_h_plus_3() -> None:
    roster = after(block(1), block(2, 3), block(3))
    assert [KEYS[3] in roster.term(height).set for height in (1, 2, 3, 4, 5, 6)] == [True] * 4 + [False] * 2
    (found,) = roster.convictions
    assert (found.offence.guilty, found.block, found.jailed) == (KEYS[3], 2, True)
    assert str(found.offence) == "signed two precommits at height 2, round 1"
    assert roster.conviction(KEYS[3]) == found
    assert roster.conviction(KEYS[0]) is None


def test_the_last_validator_is_convicted_and_stays() -> None:
    roster = after(block(1, 0, 1), block(2, 2, 3))
    assert roster.term(2 + AHEAD).set.pairs() == ((KEYS[3], 10),)
    assert [found.jailed for found in roster.convictions] == [True, True, True, False]
    assert roster.convicted == set(KEYS)


def test_a_block_without_evidence_changes_the_root_by_its_mark_of_time_alone() -> None:
    roster = after(block(1))
    assert roster.after(replace(block(2), time_ms=1_001), WINDOW_MS) is roster
    later = roster.after(block(2), WINDOW_MS)
    assert later.root != roster.root
    assert later.terms is roster.terms


def test_the_root_covers_sets_convictions_and_times() -> None:
    roots = {after(block(1)).root, after(block(1, 1)).root, after(block(1, 2)).root, after(block(2)).root}
    assert len(roots) == 4


def test_a_roster_survives_encoding() -> None:
    roster = after(block(1), block(2, 3), block(3, 1))
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(roster), type=Roster)
    assert again == roster
    assert again.root == roster.root


@given(st.lists(st.lists(st.integers(0, 3), unique=True, max_size=2), min_size=1, max_size=12))
def test_replica_and_ledger_agree_on_who_is_in_the_set_and_convicted(convicts: list[list[int]]) -> None:
    """A restart takes the chain up from the roster; who ran all along counted by itself."""
    genesis = ValidatorSet(FOUR)
    start = ChainStart(0, A, 0, (), {0: ROOT}, dict.fromkeys((1, 2, 3), genesis), window_ms=WINDOW_MS)
    chain, roster, known = Chain(start), Roster.founded(FOUR), set[int]()
    for height, wanted in enumerate(convicts, start=1):
        made = replace(block(height, *(i for i in wanted if i not in known)), parent=chain.digest)
        known.update(wanted)
        chain.append(made, bytes((height,)) * 32)
        roster = roster.after(made, WINDOW_MS)
        chain.executed_at(height, ROOT, roster.term(height + AHEAD).set.pairs())
        assert chain.convicted == roster.convicted
        assert chain.window == roster.window
        for ahead in range(1, AHEAD + 1):
            term = roster.term(height + ahead)
            assert chain.validators(height + ahead) == term.set
            assert all(chain.member_since(key, height + ahead) == since for key, since in term.since.items())
