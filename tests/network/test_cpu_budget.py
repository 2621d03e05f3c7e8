"""What peers may cost, in pure accounts under a virtual clock."""

from prsm_node.network import cpu_budget
from prsm_node.network.cpu_budget import (
    NODES_MAX,
    PAUSE_MAX_S,
    QUIET_BURST_S,
    STRANGER_HELD_BACK_S,
    STRANGER_SHARE,
    STRANGERS_SHARE,
    VALIDATOR_HELD_BACK_S,
    VALIDATOR_SHARE,
    CpuBudget,
)

A, B = b"a" * 32, b"b" * 32


def served(
    budget: CpuBudget, key: bytes, validator: bool, cost_s: float, seconds: float
) -> tuple[float, int]:
    """A node that always has more for us, each at this cost: seconds of ours that it got, and faults."""
    now = got = 0.0
    faults = 0
    while now < seconds:
        now += cost_s
        got += cost_s
        pause = budget.charge(key, validator, cost_s, now)
        if pause > 0:
            faults += budget.held_back(key, validator, pause, now)
            now += pause
    return got, faults


def test_who_asks_for_all_our_time_gets_its_share_and_is_at_fault_when_held_back_for_long() -> None:
    for validator, share, too_long in (
        (True, VALIDATOR_SHARE, VALIDATOR_HELD_BACK_S),
        (False, STRANGER_SHARE, STRANGER_HELD_BACK_S),
    ):
        got, faults = served(CpuBudget(), A, validator, 0.001, 60)
        assert share * 60 <= got <= share * 62 + 0.1
        held_back = 60 - got
        assert held_back / too_long * 0.8 <= faults <= held_back / too_long


def test_a_link_and_its_connection_that_wait_at_once_are_held_back_for_one_time() -> None:
    """A validator that has much to say after a cut is read less by both; it is not to be banned in half of
    the time for that."""
    budget = CpuBudget()
    budget.charge(A, True, 10.0, 0.0)
    pause, later = VALIDATOR_HELD_BACK_S / 2, VALIDATOR_HELD_BACK_S / 10
    assert not budget.held_back(A, True, pause, 0.0), "its stream"
    assert not budget.held_back(A, True, pause, later), "and its connection, a little later"
    assert budget.held_back(A, True, pause, pause + later)


def test_many_strangers_together_get_what_is_theirs_and_a_quiet_one_and_a_validator_do_not_wait() -> None:
    budget, now, got = CpuBudget(), 0.0, 0.0
    crowd = [bytes((index,)) * 32 for index in range(1, 65)]
    while now < 10:
        ready = [key for key in crowd if budget.charge(key, False, 0.0, now) == 0]
        for key in ready:
            budget.charge(key, False, 0.005, now)
            got += 0.005
        budget.charge(A, False, 0.00004, now)
        assert budget.charge(A, False, 0.0, now) == 0
        assert budget.charge(B, True, 0.0, now) == 0
        now += 0.01
    # Each may begin with what a quiet one holds, and one thing more.
    assert got < STRANGERS_SHARE * 12 + 64 * (QUIET_BURST_S + 0.005)


def test_who_waits_for_others_debts_is_not_at_fault() -> None:
    budget = CpuBudget()
    for index in range(1, 9):
        budget.charge(bytes((index,)) * 32, False, 1.0, 0.0)
    budget.charge(A, False, 0.5, 0.0)
    assert budget.charge(A, False, 0.0, 0.0) > 0
    assert not any(budget.held_back(A, False, PAUSE_MAX_S, 0.0) for _ in range(10))


def test_one_dear_thing_pauses_a_peer_for_a_second_at_most_and_what_is_remembered_is_bounded() -> None:
    budget = CpuBudget()
    budget.charge(A, False, 100.0, 0.0)
    assert budget.charge(A, False, 0.0, 0.0) == PAUSE_MAX_S
    assert budget.spent_s(A) == 100.0
    for index in range(NODES_MAX + 10):
        budget.charge(index.to_bytes(32, "big"), False, 0.001, 0.0)
    assert len(budget._nodes) == NODES_MAX
    assert cpu_budget.SIGNATURE_CHECK_S * 12_000 < STRANGER_SHARE, "a peer at its rate is not slowed"
