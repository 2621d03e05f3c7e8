"""`prsm-node simulate` says what it found, and how to see it again."""

import json
from pathlib import Path

import pytest

from consensus.agreement import votekeeper
from prsm_node.cli.app import run


def test_a_broken_promise_is_exit_code_1_with_a_replay_and_a_timeline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(votekeeper, "is_quorum", lambda weight, total: 3 * (weight + 1) > 2 * total)
    assert run(["simulate", "--seeds", "0..2", "--out", str(tmp_path), "--json"]) == 1
    (first, *_) = json.loads(capsys.readouterr().out)["failed"]
    assert first["replay"] == f"prsm-node simulate --scenario mixed --seed {first['seed']}"
    assert first["violation"] in (tmp_path / f"simulate-{first['seed']}.txt").read_text()


def test_kept_promises_are_exit_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--scenario", "calm", "--seeds", "0..1", "--nodes", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["failed"] == []
