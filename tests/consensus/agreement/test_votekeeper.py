"""What votekeeper.py and unchecked.py promise beyond the shared traces."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.agreement import rounds, votekeeper
from consensus.agreement.height import Height
from consensus.agreement.timeouts import Timeouts
from consensus.agreement.unchecked import LINK_VOTES_MAX, UncheckedVotes
from consensus.agreement.votekeeper import VoteKeeper
from consensus.certificates import certificate_of
from consensus.effects import ReportEvidence
from consensus.evidence import Amnesia, guilty, is_amnesia
from consensus.guard import Guard
from consensus.validators import ValidatorSet
from consensus.votes import CheckedVote, Vote, VoteKind

A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
FOUR = ValidatorSet((bytes([i]) * 32, 1) for i in range(4))


def vote(
    i: int, round_: int, value: bytes | None, mark: int = -1, kind: VoteKind = VoteKind.PREVOTE
) -> CheckedVote:
    return CheckedVote(Vote(kind, 1, round_, value, mark, 0, bytes([i]) * 32, b"s"))


def test_a_prevote_counts_for_its_value_once_the_polka_it_names_is_at_hand() -> None:
    keeper = VoteKeeper(FOUR)
    for i in range(3):
        keeper.add(vote(i, 2, A, mark=0))
    assert keeper.quorum_of_any(2, VoteKind.PREVOTE)
    assert keeper.polka(2, A) is None
    keeper.add_certificate(certificate_of([vote(i, 0, A) for i in range(3)]))
    assert keeper.polka(2, A) is not None


def test_a_polka_waits_for_the_polkas_that_its_votes_name() -> None:
    keeper = VoteKeeper(FOUR)
    keeper.add_certificate(certificate_of([vote(i, 2, A, mark=0) for i in range(3)]))
    assert keeper.polka(2, A) is None
    keeper.add_certificate(certificate_of([vote(i, 0, A) for i in range(3)]))
    polka = keeper.polka(2, A)
    assert polka is not None
    assert [below.round for below in keeper.polkas_below(polka)] == [0]


def test_an_equivocators_vote_in_our_slot_does_not_hide_a_polka() -> None:
    keeper = VoteKeeper(FOUR)
    keeper.add(vote(0, 0, B))
    found = keeper.add_certificate(certificate_of([vote(i, 0, A) for i in range(3)]))
    assert len(found) == 1
    assert keeper.polka(0, A) is not None


def test_memory_does_not_grow_with_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(votekeeper, "POLKA_VOTES_MAX", 64)
    keeper = VoteKeeper(FOUR)
    for round_ in range(100):
        for i in range(4):
            keeper.add(vote(i, round_, A))
        keeper.add(vote(3, round_ + 1_000, B))
        keeper.forget(round_, keep=(0,))
    assert [len(polka.votes) for polka in keeper.polkas()] == 21 * [3]
    assert len(keeper._tallies) <= 4
    assert keeper.polka(0, A) is not None


def test_a_lock_forgotten_is_found_when_both_votes_were_seen_in_either_order() -> None:
    lock, later = vote(0, 1, A, kind=VoteKind.PRECOMMIT), vote(0, 3, B, mark=1)
    for pair in ((lock, later), (later, lock)):
        keeper = VoteKeeper(FOUR)
        assert keeper.add(pair[0]) is None
        assert keeper.add(pair[1]) is not None


@given(
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from((A, B, C))), unique_by=lambda lock: lock[0]),
    st.sampled_from((A, B, C)),
    st.integers(-1, 8),
)
def test_whatever_precommit_was_forgotten_is_found_of_however_many(
    locks: list[tuple[int, bytes]], value: bytes, mark: int
) -> None:
    """In whichever order they came: all that one voter precommitted is told by two of them."""
    precommits = [vote(0, round_, of, kind=VoteKind.PRECOMMIT) for round_, of in locks]
    prevote = vote(0, 9, value, mark)
    keeper = VoteKeeper(FOUR)
    for precommit in precommits:
        assert keeper.add(precommit) is None
    found = keeper.add(prevote)
    assert (found is not None) == any(is_amnesia(precommit, prevote) for precommit in precommits)
    assert found is None or (isinstance(found, Amnesia) and is_amnesia(found.precommit, found.prevote))
    assert len(keeper._locks.get(prevote.voter, ())) <= 2


def observer() -> Height:
    return Height(1, FOUR, None, Timeouts(), Guard(), False)


def test_votes_are_checked_together_when_a_quorum_could_form() -> None:
    height, unchecked = observer(), UncheckedVotes()
    height.wake(0)
    assert unchecked.add(7, vote(0, 0, A), height) == ()
    assert unchecked.add(8, vote(1, 0, A), height) == ()
    assert len(unchecked.add(9, vote(2, 0, A), height)) == 3
    assert unchecked.add(9, vote(2, 0, A), height) == (), "what is under check is not checked again"


def test_votes_of_a_later_round_are_checked_when_a_third_could_be_there() -> None:
    height, unchecked = observer(), UncheckedVotes()
    height.wake(0)
    assert unchecked.add(7, vote(0, 5, A), height) == ()
    assert len(unchecked.add(7, vote(1, 5, B), height)) == 2


def test_a_flood_on_one_link_pushes_out_only_its_own() -> None:
    height, unchecked = observer(), UncheckedVotes()
    height.wake(0)
    unchecked.add(1, vote(0, 0, A), height)
    for round_ in range(1, 2 * LINK_VOTES_MAX):
        unchecked.add(2, vote(0, round_, B), height)
    assert len(unchecked) <= 1 + LINK_VOTES_MAX
    unchecked.add(1, vote(1, 0, A), height)
    assert len(unchecked.add(1, vote(2, 0, A), height)) >= 3


def test_two_votes_at_one_place_are_checked_whoever_brought_them() -> None:
    """They convict their voter, or who brought a forged one."""
    height, unchecked = observer(), UncheckedVotes()
    assert unchecked.add(1, vote(0, 0, A), height) == ()
    assert set(unchecked.add(2, vote(0, 0, B), height)) == {vote(0, 0, A), vote(0, 0, B)}
    assert unchecked.add(2, vote(0, 0, B), height) == (), "once"
    assert unchecked.add(1, vote(1, 0, A), height) == (), "another voter's"


def test_a_second_vote_at_a_counted_place_is_checked_until_its_voter_is_convicted() -> None:
    height, unchecked = observer(), UncheckedVotes()
    height.receive_votes([vote(0, 0, A)], 0)
    assert unchecked.add(1, vote(0, 0, A), height) == ()
    assert unchecked.add(1, vote(0, 0, B), height) == (vote(0, 0, B),)
    (report,) = (e for e in height.receive_votes([vote(0, 0, B)], 0) if isinstance(e, ReportEvidence))
    assert guilty(report.evidence) == vote(0, 0, A).voter
    assert unchecked.add(1, vote(0, 0, None), height) == ()


def test_the_readme_lists_the_rules_that_the_code_has() -> None:
    readme = (Path(rounds.__file__).parents[1] / "README.md").read_text()
    listed = re.findall(r"^\| `(line_\d+)` \|", readme, re.MULTILINE)
    assert listed == [name for name in vars(rounds) if re.fullmatch(r"line_\d+", name)]


def test_a_polka_that_nothing_meets_displaces_no_other_and_is_wanted_once() -> None:
    """A faulty voter names a polka that there never was; whoever sends that version may send it first or
    last."""
    honest = certificate_of([vote(i, 2, A, mark=0) for i in range(3)])
    unmet = certificate_of([vote(0, 2, A, mark=0), vote(1, 2, A, mark=0), vote(3, 2, A, mark=1)])
    below = certificate_of([vote(i, 0, A) for i in range(3)])
    for first, second in ((honest, unmet), (unmet, honest)):
        keeper = VoteKeeper(FOUR)
        for certificate in (first, second):
            assert keeper.wants(certificate)
            keeper.add_certificate(certificate)
            assert not keeper.wants(certificate)
            keeper.forget(4)
        assert keeper.polka(2, A) is None
        keeper.add_certificate(below)
        assert keeper.polka(2, A) == honest
        assert not keeper.wants(unmet)


def test_what_is_met_of_two_polkas_makes_one() -> None:
    keeper = VoteKeeper(FOUR)
    keeper.add_certificate(certificate_of([vote(i, 0, A) for i in range(3)]))
    keeper.forget(3)
    for i in range(2):
        votes = [vote(i, 2, A, mark=0), vote(2, 2, A, mark=0), vote(3, 2, A, mark=1)]
        keeper.add_certificate(certificate_of(votes))
        keeper.forget(4)
    polka = keeper.polka(2, A)
    assert polka is not None
    assert [member.voter[0] for member in polka.votes] == [0, 1, 2]


def test_a_voter_of_many_marks_holds_two_votes_and_hides_no_polka() -> None:
    keeper = VoteKeeper(FOUR)
    for mark in range(3, 40):
        marked = certificate_of([vote(0, 50, A), vote(1, 50, A), vote(2, 50, A, mark=mark)])
        assert keeper.wants(marked) == (mark < 5)
        if mark < 5:
            keeper.add_certificate(marked)
    good = certificate_of([vote(0, 50, A), vote(1, 50, A), vote(2, 50, A, mark=2)])
    assert not keeper.wants(good), "what it names is not at hand"
    keeper.add_certificate(certificate_of([vote(i, 2, A) for i in range(3)]))
    assert keeper.wants(good)
    keeper.add_certificate(good)
    assert keeper.polka(50, A) == good
