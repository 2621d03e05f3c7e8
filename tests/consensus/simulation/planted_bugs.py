"""Bugs to plant in the core at run time: each is one slip that a reader could overlook.

`found` says where simulate sees it: a scenario and a seed, the first that shows it or one soon after. When a
change of the core moves it, `python -m tests.consensus.simulation.planted_bugs NAME` looks for it again.
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from consensus import convictions, evidence, judgement, quorum, recent, replica
from consensus.agreement import forwarding, height, own_votes, rounds, votekeeper
from consensus.agreement.rounds import Facts, Fired, RoundState
from consensus.agreement.timeouts import Timeouts
from consensus.dissemination import lanes, tips
from consensus.effects import Effect
from consensus.guard import Step
from consensus.inputs import VoteReceived, VotesChecked
from consensus.simulation import disk, fetching, validator
from consensus.simulation.run import simulate
from consensus.timers import TimerKind
from consensus.validators import ValidatorSet
from consensus.votes import NIL, CheckedVote
from prsm_node.cli.simulate import load

Plant = Callable[[pytest.MonkeyPatch], None]

SEEDS_MAX = 2_000
"""Within so many seeds of its scenario each is to be found."""


class Bug(NamedTuple):
    plant: Plant
    scenario: str
    seed: int
    promises: tuple[str, ...]
    """One of these is seen broken."""


AGREEMENT = "agreement"
VALIDITY = "validity"
QUORUM = "a certificate is a quorum of distinct voters"
SIGNING = "the honest sign nothing twice and forget no lock"
EVIDENCE = "evidence convicts only the guilty"
STRENGTH = "what is stronger than the faulty is not undone"
AVAILABLE = "every certified batch can be had from an honest node, and all below it"
LIVENESS = "liveness after the network calms"
WINDOW = "nobody acknowledges beyond the window"
LIVES = "an honest validator lives"
ALIKE = "a block is valid for all or for none"
ONE_DIGEST = "one digest is certified at a sequence"


def _instead_of(patch: pytest.MonkeyPatch, rule: Callable[..., Fired | None], slip: Any) -> None:
    patch.setattr(height, "STANDING", tuple(slip if r is rule else r for r in rounds.STANDING))


def line_29_takes_an_equal_round(patch: pytest.MonkeyPatch) -> None:
    def line_28(state: RoundState, facts: Facts) -> Fired | None:
        proposal = facts.proposal
        if state.step is not Step.PROPOSE or state.decided or proposal is None:
            return None
        if not 0 <= proposal.valid_round < state.round or facts.polka_round != proposal.valid_round:
            return None
        unlocked = state.locked_round <= proposal.valid_round
        accepted = proposal.valid and (unlocked or state.locked_value == proposal.value)
        return rounds.prevote(28, state, proposal.value if accepted else NIL)

    _instead_of(patch, rounds.line_28, line_28)


def a_polka_for_nil_unlocks(patch: pytest.MonkeyPatch) -> None:
    def line_44(state: RoundState, facts: Facts) -> Fired | None:
        fired = rounds.line_44(state, facts)
        if fired is None:
            return None
        return Fired(44, replace(fired.state, locked_round=-1, locked_value=NIL), fired.actions)

    _instead_of(patch, rounds.line_44, line_44)


def a_quorum_is_one_too_small(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(votekeeper, "is_quorum", lambda weight, total: 3 * (weight + 1) > 2 * total)


def a_voter_counts_twice(patch: pytest.MonkeyPatch) -> None:
    add = votekeeper.VoteKeeper.add

    def twice(self: votekeeper.VoteKeeper, vote: CheckedVote) -> Any:
        tally = self.tally(vote.round, vote.kind)
        if tally.votes.get(vote.voter) == vote:
            self._count(tally, vote, self.validators.power(vote.voter))
        return add(self, vote)

    patch.setattr(votekeeper.VoteKeeper, "add", twice)


def strength_forgets_diverged(patch: pytest.MonkeyPatch) -> None:
    def all_of_them(marks: quorum.Marks, powers: Any, height: int) -> int:
        return sum(powers.get(voter, 0) for voter in marks)

    patch.setattr(quorum, "undiverged", all_of_them)


def lanes_are_not_chained(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lanes.Lane, "connects", lambda self, header: True)
    patch.setattr(lanes.Lane, "vouched_below", lambda self, header: True)


def a_third_acknowledges(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lanes, "is_quorum", quorum.is_third)


def polkas_are_not_forwarded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(forwarding.Forwarding, "polka", lambda self, polka: [])
    patch.setattr(validator.Validator, "send_votes", lambda self, effect: None)


def the_guard_forgets_the_lock(patch: pytest.MonkeyPatch) -> None:
    whole = own_votes.OwnVotes.guard

    def without(self: own_votes.OwnVotes, state: RoundState, polka: Any) -> Any:
        return replace(whole(self, state, polka), locked_round=-1, locked_value=None)

    patch.setattr(own_votes.OwnVotes, "guard", without)


def a_vote_leaves_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    write = disk.Disk.write

    def hasty(self: disk.Disk, keep: Callable[[], None], then: Callable[[], None]) -> None:
        write(self, keep, lambda: None)
        self._at(0, then)

    patch.setattr(disk.Disk, "write", hasty)


def an_unchecked_vote_takes_a_slot(patch: pytest.MonkeyPatch) -> None:
    take = replica.HANDLERS[VoteReceived]

    def unseen(self: replica.Replica, happened: VoteReceived, now_ms: int) -> list[Effect]:
        if happened.vote.height != self.height.height:
            return take(self, happened, now_ms)
        return replica.HANDLERS[VotesChecked](self, VotesChecked((CheckedVote(happened.vote),)), now_ms)

    handlers: dict[Any, Any] = replica.HANDLERS
    patch.setitem(handlers, VoteReceived, unseen)


def the_clock_is_judged_at_a_polka(patch: pytest.MonkeyPatch) -> None:
    receive = height.Height.receive_proposal

    def strict(
        self: height.Height, proposal: Any, value: bytes, valid: bool, timely: bool, now_ms: int
    ) -> Any:
        return receive(self, proposal, value, valid and timely, timely, now_ms)

    patch.setattr(height.Height, "receive_proposal", strict)


def evidence_ignores_polka_round(patch: pytest.MonkeyPatch) -> None:
    is_amnesia = evidence.is_amnesia

    def hasty(precommit: Any, prevote: Any) -> bool:
        return is_amnesia(precommit, replace(prevote, polka_round=-1))

    patch.setattr(evidence, "is_amnesia", hasty)
    patch.setattr(votekeeper, "is_amnesia", hasty)


def the_same_proposes_in_every_round(patch: pytest.MonkeyPatch) -> None:
    proposer = ValidatorSet.proposer
    patch.setattr(ValidatorSet, "proposer", lambda self, height, round_: proposer(self, height, 0))


def timeouts_never_grow(patch: pytest.MonkeyPatch) -> None:
    delay = Timeouts.delay_ms

    def constant(self: Timeouts, kind: TimerKind, round_: int) -> int:
        return delay(self, kind, 0)

    patch.setattr(Timeouts, "delay_ms", constant)


def tips_go_back(patch: pytest.MonkeyPatch) -> None:
    judge = tips.judge_tips

    def lenient(held: lanes.Lanes, listed: Any) -> Any:
        new = []
        for tip in listed:
            lane = held.lane(tip.author)
            if lane is None or tip.sequence > lane.committed.sequence:
                new.append(tip)
        return judge(held, tuple(new))

    patch.setattr(judgement, "judge_tips", lenient)


def a_timeout_precommits_the_proposal(patch: pytest.MonkeyPatch) -> None:
    def line_61(state: RoundState, facts: Facts) -> Fired | None:
        fired = rounds.line_61(state, facts)
        if fired is None or facts.proposal is None:
            return fired
        return rounds.precommit(61, state, facts.proposal.value)

    _instead_of(patch, rounds.line_61, line_61)


def a_restart_forgets_acknowledgements(patch: pytest.MonkeyPatch) -> None:
    restore = lanes.Lanes.restore_batch

    def forget(self: lanes.Lanes, batch: Any, given: Any) -> None:
        restore(self, batch, given if batch.author == self.me else None)

    patch.setattr(lanes.Lanes, "restore_batch", forget)


def a_root_is_taken_unseen(patch: pytest.MonkeyPatch) -> None:
    judge = judgement.Judgement.judge

    def blind(self: judgement.Judgement, judged: Any, validators: ValidatorSet, certified: bool) -> Any:
        chain, named = self._chain, judged.proposal.block.state_root
        if chain.root_for(judged.proposal.height) is None:
            return judge(self, judged, validators, certified)
        with pytest.MonkeyPatch.context() as inside:
            inside.setattr(chain, "root_for", lambda height: named)
            return judge(self, judged, validators, certified)

    patch.setattr(judgement.Judgement, "judge", blind)


def the_window_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    made = lanes.Lanes.__init__

    def wide(self: lanes.Lanes, me: Any, validators: Any, window: int, advance_max: int) -> None:
        made(self, me, validators, 4 * window, advance_max)

    patch.setattr(lanes.Lanes, "__init__", wide)


def a_leaver_begins_its_lane_anew(patch: pytest.MonkeyPatch) -> None:
    change_set = lanes.Lanes.change_set

    def forgetful(self: lanes.Lanes, validators: ValidatorSet) -> None:
        change_set(self, validators)
        self._closed.clear()

    patch.setattr(lanes.Lanes, "change_set", forgetful)


def a_proposal_is_kept_before_its_guard(patch: pytest.MonkeyPatch) -> None:
    cast = validator.Validator.cast_proposal

    def early(self: validator.Validator, effect: Any) -> None:
        self.keep_proposal(self.cluster.signatures.sign_proposal(effect.proposal))
        cast(self, effect)

    patch.setattr(validator.Validator, "cast_proposal", early)


def a_rival_parent_is_acknowledged_upon(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lanes.Lane, "vouched_below", lambda self, header: True)


def an_acknowledgement_given_twice_convicts(patch: pytest.MonkeyPatch) -> None:
    clashes, ours_given = evidence.clashes, lanes.Lanes._ours_given
    of_acknowledgements = evidence.AcknowledgementEquivocation
    patch.setattr(
        convictions, "clashes", lambda piece: isinstance(piece, of_acknowledgements) or clashes(piece)
    )
    patch.setattr(
        lanes.Lanes, "_ours_given", lambda self, rival: ours_given(self, replace(rival, digest=bytes(32)))
    )


def who_lags_is_told_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recent.RecentHeights, "forward", lambda self, height: [])
    patch.setattr(recent.RecentHeights, "late_vote", lambda self, vote, link, now_ms: [])
    patch.setattr(fetching.Fetching, "catch_up", lambda self, effect: None)


BUGS = {
    bug.plant.__name__: bug
    for bug in (
        Bug(line_29_takes_an_equal_round, "over_a_third", 24, (SIGNING, EVIDENCE, STRENGTH)),
        Bug(a_polka_for_nil_unlocks, "locksmith", 55, (SIGNING, EVIDENCE)),
        Bug(a_quorum_is_one_too_small, "mixed", 0, (QUORUM,)),
        Bug(a_voter_counts_twice, "failing_rounds", 0, (QUORUM,)),
        Bug(strength_forgets_diverged, "locksmith", 451, (STRENGTH,)),
        Bug(lanes_are_not_chained, "orphan_author", 0, (AVAILABLE,)),
        Bug(a_third_acknowledges, "mixed", 0, (QUORUM,)),
        Bug(polkas_are_not_forwarded, "mixed", 8, (LIVENESS,)),
        Bug(the_guard_forgets_the_lock, "locksmith", 44, (SIGNING, EVIDENCE)),
        Bug(a_vote_leaves_before_it_is_durable, "crashes", 5, (SIGNING, EVIDENCE)),
        Bug(an_unchecked_vote_takes_a_slot, "vote_flooder", 0, (EVIDENCE, AGREEMENT, LIVENESS)),
        Bug(the_clock_is_judged_at_a_polka, "clocks", 0, (ALIKE,)),
        Bug(evidence_ignores_polka_round, "locksmith", 4, (SIGNING, EVIDENCE)),
        Bug(the_same_proposes_in_every_round, "silent", 0, (LIVENESS,)),
        Bug(timeouts_never_grow, "slow_network", 0, (LIVENESS,)),
        Bug(tips_go_back, "invalid_values", 2, (VALIDITY, LIVES)),
        Bug(a_timeout_precommits_the_proposal, "failing_rounds", 0, (SIGNING, EVIDENCE, AGREEMENT)),
        Bug(a_restart_forgets_acknowledgements, "mixed", 7, (SIGNING, EVIDENCE, ONE_DIGEST)),
        Bug(a_root_is_taken_unseen, "invalid_values", 38, (VALIDITY,)),
        Bug(the_window_is_not_looked_at, "runaway_author", 0, (WINDOW,)),
        Bug(a_leaver_begins_its_lane_anew, "set_changes", 2, (SIGNING,)),
        Bug(a_proposal_is_kept_before_its_guard, "crash_storm", 2, (SIGNING, EVIDENCE)),
        Bug(a_rival_parent_is_acknowledged_upon, "changeling", 0, (AVAILABLE,)),
        Bug(an_acknowledgement_given_twice_convicts, "double_acknowledger", 0, (EVIDENCE,)),
        Bug(who_lags_is_told_nothing, "partitions", 0, (LIVENESS,)),
    )
}


def first_seed(bug: Bug, scenario: str, seeds: range) -> tuple[int, str] | None:
    """Return the first of these seeds that shows it, and what is seen broken."""
    plan = load(scenario)
    with pytest.MonkeyPatch.context() as patch:
        bug.plant(patch)
        for seed in seeds:
            verdict, _ = simulate(plan, seed)
            if verdict.promise is not None:
                return seed, verdict.promise
    return None


if __name__ == "__main__":
    name = sys.argv[1]
    print(name, first_seed(BUGS[name], BUGS[name].scenario, range(SEEDS_MAX)))
