"""Faulty validators and disks that refuse: whole daemons keep every promise, and slips are found."""

from collections.abc import Iterable
from typing import Any

import pytest
from msgspec.structs import replace

from consensus.simulation.schedule import Leap, schedule_from, text_of
from prsm_node.cli.simulate import load, shipped
from prsm_node.ledger.roster import Roster
from prsm_node.simulation.disk import SimulatedWriter, UnsureFile
from prsm_node.simulation.liars import CONVICTED
from prsm_node.simulation.liars import LIARS as ALTERED
from prsm_node.simulation.promises import JAILED, LOUD
from prsm_node.simulation.run import play
from prsm_node.simulation.schedule import drawn
from prsm_node.storage.journal_writer import Work

TWINS = replace(load("twins"), faults_ms=3_000)
LIARS = replace(load("liars"), faults_ms=3_000)
BAD_DISKS = replace(load("bad_disks"), faults_ms=4_000)
CHECKED_SEED = 2


def test_who_runs_twice_without_a_look_is_convicted_and_nobody_else() -> None:
    verdict = play(drawn(TWINS, 0)).verdict
    assert verdict.violation is None
    assert verdict.faulty == ("n0 runs twice",)
    assert verdict.probes["recovery: a convict leaves the set"] == 1


def test_who_says_other_than_its_daemon_is_convicted_if_it_signed_twice_and_else_nobody() -> None:
    met: set[str] = set()
    for seed in range(16):
        schedule = drawn(LIARS, seed)
        actor = schedule.faulty[0].actor
        if actor in met:
            continue
        met.add(actor)
        verdict = play(schedule).verdict
        assert verdict.violation is None, f"seed {seed}"
        assert verdict.probes["recovery: a convict leaves the set"] == (actor in CONVICTED)
        did = "altered" if actor in CONVICTED else "held back"
        assert verdict.probes[f"faulty: what it says is {did}"]
    assert met == set(ALTERED)


def test_two_who_look_for_each_other_sign_nothing_against_each_other() -> None:
    verdict = play(drawn(TWINS, CHECKED_SEED)).verdict
    assert verdict.violation is None
    assert verdict.faulty == ("n0 runs twice, checked",)
    assert verdict.probes["twin: a daemon never votes for it"] == 1
    assert verdict.probes["recovery: a convict leaves the set"] == 0


def test_a_daemon_whose_disk_refuses_ends_and_is_back_when_it_is_good_again() -> None:
    verdict = play(drawn(BAD_DISKS, 0)).verdict
    assert verdict.violation is None
    for fault in ("fault: disk full", "fault: disk failing", "fault: disk ends a daemon"):
        assert verdict.probes[fault], fault


def test_one_machine_leaps_alone_and_its_validator_has_less_than_a_third() -> None:
    for seed in range(50):
        schedule = drawn(load("mixed"), seed)
        leaps = {fault.who for fault in schedule.entries if isinstance(fault, Leap)}
        assert len(leaps) <= 1
        assert all(3 * schedule.powers[who] < sum(schedule.powers) for who in leaps)


@pytest.mark.parametrize("name", shipped())
def test_what_befalls_daemons_in_each_scenario_is_read_as_it_was_written(name: str) -> None:
    schedule = drawn(load(name), 0)
    assert schedule_from(text_of(schedule)) == schedule


def test_a_daemon_that_goes_on_without_its_journal_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    perform, ended = SimulatedWriter.perform, set[SimulatedWriter]()

    def mute(self: SimulatedWriter, work: Iterable[Work]) -> None:
        if self not in ended:
            perform(self, work)
        if self.failure is not None:
            ended.add(self)
            self.failure = None

    monkeypatch.setattr(SimulatedWriter, "perform", mute)
    assert play(drawn(BAD_DISKS, 0)).verdict.promise == LOUD


def test_a_journal_that_takes_a_refused_write_for_kept_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    write = UnsureFile.write

    def hopeful(self: UnsureFile, offset: int, buffers: list[bytes]) -> None:
        try:
            write(self, offset, buffers)
        except OSError:
            self._end = offset + sum(map(len, buffers))

    monkeypatch.setattr(UnsureFile, "write", hopeful)
    assert any(play(drawn(BAD_DISKS, seed)).verdict.promise for seed in range(4))


def test_a_convict_that_stays_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    after = Roster.after

    def mild(self: Roster, block: Any, window_ms: int) -> Roster:
        return after(self, replace(block, evidence=()), window_ms)

    monkeypatch.setattr(Roster, "after", mild)
    assert play(drawn(TWINS, 0)).verdict.promise == JAILED
