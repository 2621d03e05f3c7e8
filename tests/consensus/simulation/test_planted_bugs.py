"""Bugs planted in the core at run time are found: what the simulation does not find, it does not promise.

Each patch is one slip that a reader could overlook. A bound on the seeds says how hidden it may be.
"""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from consensus.agreement import height, rounds, votekeeper
from consensus.agreement.own_votes import OwnVotes
from consensus.agreement.rounds import Facts, Fired, RoundState
from consensus.agreement.votekeeper import VoteKeeper
from consensus.dissemination import lanes
from consensus.guard import Guard
from consensus.quorum import is_third
from consensus.simulation.disk import Disk
from consensus.simulation.run import simulate
from consensus.votes import CheckedVote
from prsm_node.cli.simulate import load

QUORUM = "a certificate is a quorum of distinct voters"
SIGNING = "the honest sign nothing twice and forget no lock"
EVIDENCE = "evidence convicts only the guilty"


def found_in(scenario: str, seeds: int, nodes: int | None = None) -> str:
    """Return the first promise that is seen broken; fail where none is."""
    plan = load(scenario)
    for seed in range(seeds):
        verdict, _ = simulate(plan, seed, nodes)
        if verdict.promise is not None:
            return verdict.promise
    pytest.fail(f"{seeds} seeds of {scenario} found nothing")


def instead_of(
    patch: pytest.MonkeyPatch, rule: Callable[[RoundState, Facts], Fired | None], slip: Any
) -> None:
    patch.setattr(height, "STANDING", tuple(slip if r is rule else r for r in rounds.STANDING))


def test_a_quorum_that_is_one_too_small_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(votekeeper, "is_quorum", lambda weight, total: 3 * (weight + 1) > 2 * total)
    assert found_in("mixed", 10) == QUORUM


def test_a_third_of_acknowledgements_for_a_quorum_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "is_quorum", is_third)
    assert found_in("mixed", 10) == QUORUM


def test_a_voter_counted_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    add = VoteKeeper.add

    def twice(self: VoteKeeper, vote: CheckedVote) -> Any:
        tally = self.tally(vote.round, vote.kind)
        if tally.votes.get(vote.voter) == vote:
            self._count(tally, vote, self.validators.power(vote.voter))
        return add(self, vote)

    monkeypatch.setattr(VoteKeeper, "add", twice)
    assert found_in("failing_rounds", 60) == QUORUM


def test_a_guard_without_the_lock_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = OwnVotes.guard

    def without(self: OwnVotes, state: RoundState, polka: Any) -> Guard:
        return replace(whole(self, state, polka), locked_round=-1, locked_value=None)

    monkeypatch.setattr(OwnVotes, "guard", without)
    assert found_in("locks", 200) in (SIGNING, EVIDENCE)


def test_what_leaves_before_it_is_durable_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    write = Disk.write

    def hasty(self: Disk, keep: Callable[[], None], then: Callable[[], None]) -> None:
        write(self, keep, lambda: None)
        self._at(0, then)

    monkeypatch.setattr(Disk, "write", hasty)
    assert found_in("crashes", 60) in (SIGNING, EVIDENCE)
