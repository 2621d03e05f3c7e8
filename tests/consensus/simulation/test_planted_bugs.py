"""Bugs planted in the core at run time are found: what the simulation does not find, it does not promise."""

import pytest

from consensus.simulation.run import simulate
from prsm_node.cli.simulate import load
from tests.consensus.simulation.planted_bugs import BUGS, SEEDS_MAX


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bug = BUGS[name]
    plan = load(bug.scenario)
    sound, _ = simulate(plan, bug.seed)
    assert sound.violation is None
    bug.plant(monkeypatch)
    verdict, _ = simulate(plan, bug.seed)
    assert verdict.promise in bug.promises
    assert bug.seed < SEEDS_MAX
