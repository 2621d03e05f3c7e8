"""What a round waits follows the network, and not the outage that one height sat out."""

from consensus.agreement.timeouts import MEASURED_MAX_MS, PROPOSE_FLOOR_MS, Timeouts
from consensus.timers import TimerKind


def propose_ms(timeouts: Timeouts) -> int:
    return timeouts.delay_ms(TimerKind.PROPOSE, 0)


def test_a_height_that_waited_for_a_quorum_to_return_has_no_dead_proposer_waited_for_as_long() -> None:
    quick = Timeouts().observed(50).observed(50)
    assert propose_ms(quick) == PROPOSE_FLOOR_MS + 200
    after_an_outage = quick.observed(60_000)
    assert propose_ms(after_an_outage) < 2_000


def test_a_network_that_became_slow_is_met_within_a_few_heights() -> None:
    timeouts, heights = Timeouts().observed(50), 0
    while timeouts.measured_ms < MEASURED_MAX_MS:
        timeouts, heights = timeouts.observed(MEASURED_MAX_MS), heights + 1
    assert heights <= 8


def test_what_is_measured_falls_back_by_an_eighth_a_height() -> None:
    assert Timeouts(800).observed(10).measured_ms == 700


def test_one_slow_height_among_quick_ones_changes_no_wait() -> None:
    quick = Timeouts().observed(50).observed(50)
    assert propose_ms(quick.observed(5_000).observed(50)) <= propose_ms(quick)


def test_a_quick_node_waits_in_some_round_until_the_slowest_has_come_to_it() -> None:
    """Each round's end parts them by what their measures differ; the quick one's wait outgrows that."""
    quick, slow = Timeouts(0), Timeouts(1_500)

    def parted_ms(round_: int) -> int:
        return slow.delay_ms(TimerKind.PRECOMMIT, round_) - quick.delay_ms(TimerKind.PRECOMMIT, round_)

    assert parted_ms(20) == parted_ms(0)
    assert any(quick.delay_ms(TimerKind.PROPOSE, round_ + 1) > parted_ms(round_) for round_ in range(12))
