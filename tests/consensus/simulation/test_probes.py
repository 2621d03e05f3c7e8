"""Mixed reaches what is rare: each paper line, each fault, each way to recover."""

import pytest

from consensus.agreement import rounds
from consensus.replica import Replica
from consensus.simulation.probes import LINES, PROBES, WATCHED, Probes, probed, unreached
from consensus.simulation.run import Verdict, simulate
from consensus.simulation.schedule import schedule_of
from prsm_node.cli.simulate import load

MIXED = load("mixed")
SEEDS_MAX = 100
LOCKS = {"line_22 prevotes nil: locked", "line_28 prevotes nil: locked", "line_36 leaves an older lock"}
"""Locks are seldom met again in mixed, and in locksmith all the time."""
RARE = {"recovery: SendEvidence", "recovery: a vote waits for leave to sign"}
"""For `simulate --seeds 0..999 --probes`; too rare for a test."""


def test_every_paper_line_is_a_probe() -> None:
    assert tuple(name for name in vars(rounds) if name.startswith("line_")) == LINES
    assert set(LINES) <= set(PROBES)
    assert len(set(PROBES)) == len(PROBES)


def test_mixed_reaches_every_rule_fault_and_way_to_recover() -> None:
    assert walked("mixed", LOCKS | RARE) <= LOCKS | RARE


def test_locks_are_met_again_where_rounds_are_made_to_fail() -> None:
    assert not walked("locksmith", set(PROBES) - LOCKS) & LOCKS


@pytest.mark.parametrize(("scenario", "seed"), [("polka_hider", 13), ("mixed", 34)])
def test_an_older_polka_meets_a_later_lock_where_it_was_hidden(scenario: str, seed: int) -> None:
    verdict = probed(schedule_of(load(scenario), seed))
    assert verdict.violation is None
    assert verdict.probes["line_28 prevotes nil: locked"] > 0


def walked(scenario: str, missing: set[str]) -> set[str]:
    """Go seed after seed until nothing is unreached but what may be missing; return what is."""
    plan = load(scenario)
    verdicts: list[Verdict] = []
    while len(verdicts) < SEEDS_MAX and (not verdicts or set(unreached(verdicts, plan)) - missing):
        verdicts.append(probed(schedule_of(plan, len(verdicts))))
        assert verdicts[-1].violation is None, f"seed {len(verdicts) - 1}"
    return set(unreached(verdicts, plan))


def test_probes_change_nothing_and_leave_nothing_behind() -> None:
    before = [getattr(owner, name) for owner, name, _ in WATCHED]
    watched = probed(schedule_of(MIXED, 5))
    assert [getattr(owner, name) for owner, name, _ in WATCHED] == before
    plain, _ = simulate(MIXED, 5)
    assert watched.probes
    assert (watched.height, watched.steps, watched.effects) == (plain.height, plain.steps, plain.effects)
    assert plain.probes == {}


def test_probes_are_given_back_by_a_run_that_fails() -> None:
    before = Replica.step
    try:
        with Probes():
            raise LookupError
    except LookupError:
        assert Replica.step is before
