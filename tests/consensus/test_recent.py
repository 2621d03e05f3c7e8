"""What is still done for heights that are decided."""

from consensus.effects import SendCommitted
from consensus.recent import ANSWER_EVERY_MS, RecentHeights
from consensus.votes import Vote, VoteKind

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
