"""bench snapshot names its figures; here of few accounts, and without the daemons."""

import pytest

from prsm_node.bench import snapshot


def test_taking_and_restoring_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "ACCOUNTS", 5_000)
    metrics = snapshot.taken_and_restored()
    assert set(metrics) == {"take", "take_stall", "restore"}
    assert metrics["take"].value > 0
    assert metrics["take_stall"].samples > 0
