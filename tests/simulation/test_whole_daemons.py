"""Whole daemons keep every promise while they are attacked, one seed is one history, and slips are found."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from consensus.blocks import Block, Tip
from consensus.effects import SendCertificate
from consensus.guard import Guard
from consensus.simulation.scenario import Crashes
from prsm_node import node
from prsm_node.cli.simulate import load
from prsm_node.consensus_host.executor import Executor
from prsm_node.consensus_host.host import PERFORM, ConsensusHost
from prsm_node.consensus_host.signing_journal import SigningJournal
from prsm_node.simulation.promises import BROKE_OFF, ROOTS, SIGNED_ONCE
from prsm_node.simulation.run import LIVENESS, play
from prsm_node.simulation.schedule import drawn
from prsm_node.wire.kinds import Kind
from tests.hash_seeds import printed

MIXED = load("mixed")


def broken_in(scenario: str, seeds: int) -> str:
    """Return the first promise that is seen broken; fail where none is."""
    plan = load(scenario)
    for seed in range(seeds):
        promise = play(drawn(plan, seed)).verdict.promise
        if promise is not None:
            return promise
    pytest.fail(f"{seeds} seeds of {scenario} found nothing")


def test_every_promise_is_kept_and_faults_and_recoveries_are_met() -> None:
    """Within a dozen seeds; which of them meets what changes with every message."""
    faults = ("crash", "cut", "heal", "clock", "slow", "leap", "disk full", "disk failing", "twice")
    recoveries = ("sent.gossip", "sent.want", "sent.committed", "log.info recovered", "log.info snapshot")
    met: Counter[str] = Counter()
    missing: list[str] = []
    for seed in range(12):
        verdict = play(drawn(MIXED, seed)).verdict
        assert verdict.violation is None, f"seed {seed}"
        met.update(verdict.effects)
        missing = [kind for kind in (*faults, *recoveries, "settled") if not met[kind]]
        if not missing:
            return
    pytest.fail(f"not met: {missing}")


def test_a_network_of_one_daemon_goes_on_after_it_was_killed() -> None:
    for seed in range(2):
        verdict = play(drawn(MIXED, seed, 1)).verdict
        assert verdict.violation is None, f"seed {seed}"


def test_who_was_away_for_long_catches_up_by_sync() -> None:
    scenario = replace(load("calm"), crashes=Crashes(every_ms=2_000, down_ms=6_000))
    for seed in range(4):
        verdict = play(drawn(scenario, seed)).verdict
        assert verdict.violation is None, f"seed {seed}"
        if verdict.effects.get("log.info syncing"):
            return
    pytest.fail("nobody was away for long enough")


def test_what_clients_were_told_outlives_the_end_of_all_daemons_at_once() -> None:
    verdict = play(drawn(load("blackouts"), 2)).verdict
    assert verdict.violation is None
    assert verdict.effects["crash"] > 10
    assert verdict.effects["settled"] > 50


def history(seed: int) -> str:
    return play(drawn(MIXED, seed)).digest


def test_a_seed_gives_one_history_in_every_process_and_under_every_hash_seed() -> None:
    assert printed(f"from {__name__} import history; print(history(1))") == {history(1)}


def test_a_trace_changes_nothing_and_tells_who_did_what() -> None:
    plain, traced = (play(drawn(load("calm"), 3), trace=trace) for trace in (False, True))
    assert plain.digest == traced.digest
    assert not plain.trace
    assert {"start", "serves", "message", "info", "decide", "settled", "calm"} <= {
        event.kind for event in traced.trace
    }


def test_a_vote_that_leaves_before_it_is_durable_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = SigningJournal.keep_guard

    def hasty(
        self: SigningJournal, guard: Guard, kind: Kind, message: bytes, then: Callable[[], None]
    ) -> None:
        keep(self, guard, kind, message, lambda: None)
        then()

    monkeypatch.setattr(SigningJournal, "keep_guard", hasty)
    # It leaves before its block is durable as well: a restart that lacks the block may hold all up first.
    assert broken_in("crashes", 12) in (SIGNED_ONCE, LIVENESS)


def test_a_guard_that_a_restart_forgets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "settled", lambda guard, executed, decided: Guard())
    assert broken_in("crashes", 12) == SIGNED_ONCE


def test_a_daemon_that_executes_in_an_order_of_its_own_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    in_order = Executor._in_order
    runs: dict[Executor, int] = {}

    def of_its_own(self: Executor, block: Block) -> Sequence[Tip]:
        tips = in_order(self, block)
        return tips if runs.setdefault(self, len(runs)) % 4 else tips[::-1]

    monkeypatch.setattr(Executor, "_in_order", of_its_own)
    assert broken_in("crashes", 12) == ROOTS


def test_a_daemon_that_ends_by_itself_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: ConsensusHost, effect: Any) -> None:
        raise RuntimeError("planted")

    performed: Any = PERFORM
    monkeypatch.setitem(performed, SendCertificate, fails)
    verdict = play(drawn(load("calm"), 0)).verdict
    assert verdict.promise == BROKE_OFF
    assert verdict.violation is not None
    assert "planted" in verdict.violation
