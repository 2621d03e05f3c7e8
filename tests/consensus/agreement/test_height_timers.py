"""When what was signed at a height goes again."""

from consensus.agreement.height_timers import HeightTimers
from consensus.agreement.timeouts import Timeouts


def test_votes_of_quick_rounds_do_not_put_off_what_is_to_go_again() -> None:
    """Two were cut off for two rounds, and lacked the polkas that all later votes name; the others
    voted more often than every 2 s, and never sent them again."""
    timers = HeightTimers(1, Timeouts())
    waits: list[int] = []
    for _ in range(5):
        (begun,) = timers.resend() if not waits else (timers.resent(),)
        waits.append(begun.delay_ms)
        assert [timers.resend() for _ in range(3)] == [[], [], []], "it runs"
    assert waits == [500, 1_000, 1_500, 2_000, 2_000]
