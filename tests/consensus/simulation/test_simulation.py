"""Clusters under attack keep every promise, and one seed is one history."""

import os
import subprocess
import sys
from hashlib import sha256

import pytest

from consensus.simulation.byzantine import ACTORS
from consensus.simulation.run import simulate
from consensus.simulation.timeline import lines
from prsm_node.cli.simulate import load, shipped

MIXED = load("mixed")


@pytest.mark.parametrize("seed", range(30))
def test_every_promise_is_kept_in_the_mixed_scenario(seed: int) -> None:
    verdict, _ = simulate(MIXED, seed)
    assert verdict.violation is None


@pytest.mark.parametrize("name", [name for name in shipped() if name != "mixed"])
def test_every_promise_is_kept_in_each_shipped_scenario(name: str) -> None:
    for seed in range(3):
        verdict, _ = simulate(load(name), seed)
        assert verdict.violation is None, f"seed {seed}"


def test_each_kind_of_actor_has_a_scenario_of_its_own() -> None:
    assert ACTORS.keys() <= set(shipped())


def test_the_mixed_scenario_reaches_decisions_crashes_cuts_and_evidence() -> None:
    kinds: set[str] = set()
    effects: set[str] = set()
    for seed in range(8):
        verdict, events = simulate(MIXED, seed, trace=True)
        kinds |= {event.kind for event in events}
        effects |= verdict.effects.keys()
    assert {"decide", "crash", "start", "cut", "heal", "clock", "slow", "evidence", "calm"} <= kinds
    assert {"CatchUp", "FetchBlock", "SendVotes", "SendCommitted", "ReportEvidence"} <= effects


def history(seed: int) -> str:
    verdict, events = simulate(MIXED, seed, trace=True)
    return sha256("\n".join((*lines(verdict, events), repr(events))).encode()).hexdigest()


def test_a_seed_gives_one_history_in_every_process_and_under_every_hash_seed() -> None:
    program = f"from {__name__} import history; print(*(history(seed) for seed in (3, 11)))"
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert told == {f"{history(3)} {history(11)}\n"}


def test_a_block_that_was_voted_for_outlives_the_crash_of_all_who_have_it() -> None:
    """Its polka binds their locks: forgotten by all, it would hold the height for ever."""
    verdict, _ = simulate(load("failing_rounds"), 273)
    assert verdict.violation is None
