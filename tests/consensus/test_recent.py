"""What is still done for heights that are decided."""

from msgspec.structs import replace

from consensus.agreement.decided_height import DecidedHeight
from consensus.agreement.votekeeper import VoteKeeper
from consensus.certificates import certificate_of
from consensus.effects import CheckVotes, SendCommitted
from consensus.recent import ANSWER_EVERY_MS, LINKS_MAX, RecentHeights
from consensus.validators import ValidatorSet
from consensus.votes import CheckedVote, Vote, VoteKind

LATE = Vote(VoteKind.PRECOMMIT, 3, 0, b"a" * 32, -1, 0, b"v" * 32, b"s")
NOON_MS = 1_764_072_000_000
DAY_MS = 24 * 3_600_000


def test_a_link_that_lags_is_told_of_a_decided_height_at_intervals() -> None:
    recent = RecentHeights()
    assert recent.late_vote(LATE, 1, NOON_MS) == [SendCommitted(3, 1)]
    assert recent.late_vote(LATE, 1, NOON_MS + ANSWER_EVERY_MS - 1) == []
    assert recent.late_vote(LATE, 2, NOON_MS + ANSWER_EVERY_MS - 1) == [SendCommitted(3, 2)]
    assert recent.late_vote(LATE, 1, NOON_MS + ANSWER_EVERY_MS) == [SendCommitted(3, 1)]


def test_a_clock_that_was_a_day_ahead_keeps_no_link_waiting_for_a_day() -> None:
    recent = RecentHeights()
    assert recent.late_vote(LATE, 1, NOON_MS + DAY_MS) == [SendCommitted(3, 1)]
    assert recent.late_vote(LATE, 1, NOON_MS) == [SendCommitted(3, 1)]
    assert recent.late_vote(LATE, 1, NOON_MS + 1) == [], "by the clock as it goes on"


def test_a_late_precommit_is_checked_however_many_strangers_brought_votes_before() -> None:
    four = [b"v" * 32, *(bytes((i,)) * 32 for i in range(3))]
    validators = ValidatorSet((key, 1) for key in four)
    commit = certificate_of([CheckedVote(replace(LATE, voter=key)) for key in four[1:]])
    recent = RecentHeights()
    recent.add(DecidedHeight(VoteKeeper(validators), commit))
    for stranger in range(2, 2 * LINKS_MAX):
        recent.late_vote(replace(LATE, signature=b"forged"), stranger, NOON_MS)
    assert recent.late_vote(LATE, 1, NOON_MS) == [CheckVotes((LATE,))]
    assert recent.late_vote(LATE, 1, NOON_MS) == [SendCommitted(3, 1)], "once; then it is a sign of lagging"
    assert len(recent._heights[3].seen) == LINKS_MAX
