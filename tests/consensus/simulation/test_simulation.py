"""Clusters under attack keep every promise, and one seed is one history."""

from functools import partial
from hashlib import sha256

import pytest
from msgspec.structs import replace

from consensus.blocks import Block, CheckedProposal, Proposal, block_digest
from consensus.simulation.byzantine import ACTORS
from consensus.simulation.chance import Chance
from consensus.simulation.cluster import Cluster
from consensus.simulation.process import HEARD_MAX
from consensus.simulation.run import play, simulate
from consensus.simulation.scenario import Links, Rings, validated
from consensus.simulation.schedule import Crash, Jump, Schedule, Unusual, schedule_of
from consensus.simulation.timeline import lines
from consensus.simulation.validator import Validator
from consensus.votes import NIL, Vote
from prsm_node.cli.simulate import load, shipped
from prsm_node.consensus_host import proposal_store
from tests.hash_seeds import printed

MIXED = load("mixed")


# 6348: a restart had not the polkas that its lock's rests on.
@pytest.mark.parametrize("seed", [*range(30), 6348])
def test_every_promise_is_kept_in_the_mixed_scenario(seed: int) -> None:
    verdict, _ = simulate(MIXED, seed)
    assert verdict.violation is None


def test_a_network_of_one_goes_on_after_a_crash_between_what_it_signed_and_its_count() -> None:
    """Nobody else is there who would hand its votes and acknowledgements back."""
    for seed in range(12):
        verdict, _ = simulate(MIXED, seed, nodes=1)
        assert verdict.violation is None, f"seed {seed}"


@pytest.mark.parametrize("name", [name for name in shipped() if name != "mixed"])
def test_every_promise_is_kept_in_each_shipped_scenario(name: str) -> None:
    for seed in range(3):
        verdict, _ = simulate(load(name), seed)
        assert verdict.violation is None, f"seed {seed}"


def test_an_idle_network_is_no_dead_one() -> None:
    """Its blocks come a heartbeat apart, further than what is asked of one with something to order."""
    for seed in range(3):
        verdict, _ = simulate(replace(MIXED, batch_every_ms=0), seed)
        assert verdict.violation is None, f"seed {seed}"
        assert verdict.recovered_ms > MIXED.calm_bound_ms


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
    assert printed(program) == {f"{history(3)} {history(11)}"}


@pytest.mark.parametrize("seed", [1, 4])
def test_a_recorded_run_is_the_same_without_its_seed(seed: int) -> None:
    recorded = play(schedule_of(MIXED, seed), trace=True, record=True)
    again = play(replace(recorded.schedule, seed=seed + 1), trace=True)
    assert again.trace == recorded.trace


def test_a_fault_less_does_not_reshuffle_the_others() -> None:
    """A draw depends on what it is about, so a shorter schedule is the same story with less in it."""

    def outcomes(schedule: Schedule) -> dict[object, object]:
        recorded = play(schedule, record=True).schedule.entries
        return {(e.place, e.came): e.outcome for e in recorded if isinstance(e, Unusual)}

    whole = schedule_of(replace(MIXED, links=Links()), 2)
    first = outcomes(whole)
    then = outcomes(replace(whole, entries=tuple(e for e in whole.entries if not isinstance(e, Crash))))
    both = first.keys() & then.keys()
    assert len(both) > 100
    assert {moment: first[moment] for moment in both} == {moment: then[moment] for moment in both}


def test_a_run_stops_after_as_many_steps_as_are_asked_for() -> None:
    whole = play(schedule_of(MIXED, 3), trace=True)
    short = play(schedule_of(MIXED, 3), trace=True, steps=500)
    assert short.verdict.steps == 500
    assert whole.trace[: len(short.trace) - 1] == short.trace[:-1]


def test_a_proposal_whose_guard_was_lost_in_a_crash_is_not_found_after_it() -> None:
    """Its proposer would make another one, and find itself guilty of two."""
    verdict, _ = simulate(load("set_changes"), 224)
    assert verdict.violation is None


def test_who_executes_slowly_calls_no_block_invalid_whose_next_set_it_does_not_know_yet() -> None:
    verdict, _ = simulate(MIXED, 201)
    assert verdict.violation is None


def test_a_block_that_was_voted_for_outlives_the_crash_of_all_who_have_it() -> None:
    """Its polka binds their locks: forgotten by all, it would hold the height for ever."""
    verdict, _ = simulate(load("failing_rounds"), 273)
    assert verdict.violation is None


def test_in_a_share_of_seeds_all_who_are_faulty_are_one_ring() -> None:
    plan = replace(load("mixed"), rings=Rings(share=0.5, kinds=("splitter", "conspirator")))
    rings = others = 0
    for seed in range(40):
        kinds = {one.actor for one in schedule_of(plan, seed).faulty}
        alone = {one.actor for one in schedule_of(replace(plan, rings=Rings()), seed).faulty}
        rings += kinds <= {"splitter", "conspirator"} and len(kinds) == 1 != len(alone)
        others += kinds == alone
    assert rings > 5, "where several kinds would be drawn"
    assert others > 10, "as they are drawn without rings"


@pytest.mark.parametrize(
    ("rings", "told"), [(Rings(0.5), "kinds is empty"), (Rings(0.5, ("silent",)), "actors lacks")]
)
def test_a_ring_that_nobody_can_be_in_is_refused_in_words(rings: Rings, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        validated(replace(load("twins"), rings=rings))


def test_a_clock_days_off_holds_up_none_of_the_others() -> None:
    """Its proposals are prevoted nil, its own prevotes are nil: of four, the other three go on."""
    whole = schedule_of(load("calm"), 1, 4)
    far_ms = 30 * 24 * 3_600_000
    leaps = (Jump(500, 0, far_ms), Jump(3_000, 0, -far_ms), Jump(5_500, 0, far_ms))
    right, wrong = (play(replace(whole, entries=(*whole.entries, *more))).verdict for more in ((), leaps))
    assert wrong.violation is None
    assert wrong.height > right.height / 2
    assert wrong.recovered_ms < 2_000


def test_a_clock_leaps_both_ways_by_days_in_its_scenario() -> None:
    plan, day_ms = load("leaping_clocks"), 24 * 3_600_000
    jumps = [e.off_ms for seed in range(3) for e in schedule_of(plan, seed).entries if isinstance(e, Jump)]
    assert min(jumps) < -day_ms
    assert max(jumps) > day_ms
    assert max(map(abs, jumps)) <= plan.clocks.leap_hours * 3_600_000


def test_a_disk_keeps_the_blocks_that_were_voted_for_and_none_that_was_only_heard() -> None:
    """As the daemon's journal does: what no vote rests on must not help after a crash."""
    cluster = Cluster(Chance(1)).start()
    one = cluster.all[0]
    while not one.kept_proposals:
        cluster.run(1)
    voted = [block_digest(kept.block) for kept in one.kept_proposals]
    assert {vote.value for vote in one.guard_messages if isinstance(vote, Vote)} <= {*voted, NIL}
    height, nobody = one.replica.height.height, bytes(32)
    for time_ms in range(HEARD_MAX + 2):
        block = Block(height, nobody, time_ms, one.key, (), (), nobody, nobody)
        one.hear_proposal(CheckedProposal(Proposal(0, -1, one.key, block)))
    assert len(one.proposals) == len(voted) + HEARD_MAX
    one.crash()
    one.start()
    assert list(one.proposals) == voted


@pytest.mark.parametrize("kept", [True, False])
def test_a_block_whose_proposer_is_gone_is_had_from_the_disks_of_those_who_voted_for_it(
    kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All who are honest lock on it and end at once. Were it on no disk, its height would stay open."""
    if not kept:
        monkeypatch.setattr(Validator, "_keep_voted", lambda self, vote: None)
    cluster = Cluster(Chance(1), actors={0: ACTORS["leapfrogger"]}).start()
    gone, honest = cluster.all[0], cluster.honest
    for body in range(1, 40):
        cluster.at(50 * body, partial(cluster.seal, body % 3 + 1, body))

    def locked(on: CheckedProposal) -> bool:
        return all(
            v.guard.locked_value == block_digest(on.block) and len(v.blocks) < on.height for v in honest
        )

    while not any(locked(theirs) for theirs in honest[0].proposals.values() if theirs.proposer == gone.key):
        cluster.run(1)
    height = len(honest[0].blocks)
    for validator in (gone, *honest):
        validator.crash()
    for validator in honest:
        validator.start()
    cluster.run(10_000)
    assert all((len(validator.blocks) > height + 2) == kept for validator in honest)


def test_a_simulated_process_remembers_as_many_proposals_as_a_daemon() -> None:
    assert HEARD_MAX == proposal_store.HEARD_MAX
