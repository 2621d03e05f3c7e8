"""What breaks a promise is made short, and the short schedule breaks it again from its file."""

from itertools import islice

import pytest
from msgspec.structs import replace

from consensus.simulation.places import without
from consensus.simulation.run import play
from consensus.simulation.schedule import Crash, Cut, Unusual, schedule_from, schedule_of, text_of
from consensus.simulation.shrinking import shrink
from prsm_node.cli.simulate import load
from tests.consensus.simulation.planted_bugs import BUGS

SHORT = 40
TRIES = 300


@pytest.mark.parametrize(
    "name",
    [
        "a_polka_for_nil_unlocks",
        "a_quorum_is_one_too_small",
        "a_third_acknowledges",
        "the_guard_forgets_the_lock",
    ],
)
def test_a_failing_seed_becomes_a_short_schedule(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every planted bug does: `python -m tests.consensus.simulation.shrink_planted_bugs`."""
    bug = BUGS[name]
    bug.plant(monkeypatch)
    attempts = islice(shrink(load(bug.scenario), bug.seed), TRIES)
    short = next(attempt.best for attempt in attempts if attempt.best.events() < SHORT)
    again = play(schedule_from(text_of(short)))
    assert again.verdict.promise == short.promise
    assert short.promise in bug.promises
    monkeypatch.undo()
    assert play(short).verdict.promise is None


def test_a_seed_that_keeps_every_promise_has_nothing_to_shrink() -> None:
    assert list(shrink(load("calm"), 0)) == []


def test_what_is_said_of_a_validator_goes_with_it() -> None:
    assert without((4, 2, "prevote", 2, 7, 0), 2) is None
    assert without((4, 1, "prevote", 5, 7, 0), 2) == (3, 1, "prevote", 4, 7, 0)
    assert without((4, 1, "polka", 5, 7), 2) == (3, 1, "polka", 5, 7)
    assert without(("sync", 3), 2) == ("sync", 2)
    assert without(("sync", 2), 2) is None


def test_a_schedule_is_read_as_it_was_written() -> None:
    whole = play(schedule_of(load("mixed"), 1), record=True).schedule
    assert schedule_from(text_of(whole)) == whole


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "truncated"),
        ("[" * 100_000, "object"),
        ("{}", "scenario"),
        ('{"scenario": {"nodes_min": -1}}', "nodes_min"),
    ],
)
def test_what_is_no_schedule_is_refused_in_words(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        schedule_from(text)


def test_a_schedule_names_no_validator_twice() -> None:
    whole = schedule_of(load("double_voter"), 1)
    twice = replace(whole, faulty=whole.faulty * 2)
    with pytest.raises(ValueError, match="twice"):
        schedule_from(text_of(twice))


def test_what_befalls_nobody_does_not_happen() -> None:
    whole = schedule_of(load("calm"), 1, 4)
    nobody = (Crash(1, 60, 0, 5), Cut(2, "half", (0, 1, 60), 5), Unusual(("sync", 60), 0, (1.0,)))
    run = play(replace(whole, entries=nobody, recorded=True), record=True)
    assert run.schedule.entries == ()
