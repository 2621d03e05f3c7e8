"""`scripts/soak` reports shortly, goes on where it ended, and says in one sentence what it can't do."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def soak(out: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [
        sys.executable,
        str(ROOT / "scripts" / "soak.py"),
        "--out",
        str(out),
        "--jobs",
        "1",
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=100, check=False)


def test_a_soak_keeps_one_report_and_goes_on_with_new_seeds(tmp_path: Path) -> None:
    for _ in range(2):
        done = soak(tmp_path, "--seeds", "2", "--hours", "0.00001", "calm")
        assert done.returncode == 0, done.stderr
    kept = json.loads((tmp_path / "soak.json").read_text())
    assert kept["next_seed"] == 1_000_004
    assert "4 seeds, 0 broke a promise" in (tmp_path / "soak.txt").read_text()


def test_a_soak_that_can_do_nothing_says_why(tmp_path: Path) -> None:
    done = soak(tmp_path, "--hours", "0.00001", "nothing")
    assert done.returncode == 1
    assert "there is no scenario nothing" in done.stderr
    (tmp_path / "soak.json").write_text("{")
    done = soak(tmp_path, "calm")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "remove it to begin anew" in done.stderr
