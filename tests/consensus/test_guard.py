"""What a guard keeps of the messages that were signed under it."""

from consensus.guard import Guard, Step, still_signed
from consensus.simulation.run import simulate
from prsm_node.cli.simulate import load

LEFT = Guard(height=1, round=0, step=Step.PRECOMMIT)


def test_the_precommit_with_which_a_round_was_left_is_sent_again_in_the_next() -> None:
    prevoted = Guard(height=1, round=1, step=Step.PREVOTE)
    assert still_signed(LEFT, prevoted, ("prevote 0", "precommit 0")) == ("precommit 0",)
    precommitted = Guard(height=1, round=1, step=Step.PRECOMMIT)
    assert still_signed(prevoted, precommitted, ("precommit 0", "prevote 1")) == ("precommit 0", "prevote 1")
    assert still_signed(LEFT, Guard(height=2, round=0, step=Step.PREVOTE), ("precommit 0",)) == ()


def test_who_crashes_in_the_next_round_leaves_nobody_behind_in_the_last() -> None:
    """Its precommit had been lost on the way, the others needed it, and the restart had forgotten it."""
    verdict, _ = simulate(load("failing_rounds"), 362)
    assert verdict.violation is None
