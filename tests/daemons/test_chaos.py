"""`testnet up --chaos` with real daemons: faults are played and recovered from, and nothing final is lost."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.daemons

PROGRAM = [sys.executable, "-m", "prsm_node"]
SHORT = """
about = "one of each, in a hurry"
gap_s = [0.3, 0.5]
[[faults]]
kind = "kill"
for_s = [0, 0.2]
[[faults]]
kind = "pause"
for_s = [1, 1]
[[faults]]
kind = "partition"
for_s = [1, 2]
shapes = ["half", "one"]
[[faults]]
kind = "slow"
for_s = [1, 2]
links = { delay_ms = 50, loss = 0.02 }
"""


def test_faults_are_played_and_nothing_final_is_lost(tmp_path: Path) -> None:
    (tmp_path / "short.toml").write_text(SHORT)
    command = [*PROGRAM, "testnet", "up", str(tmp_path / "net"), "--json"]
    command += ["--chaos", str(tmp_path / "short.toml"), "--for", "12", "--seed", "3", "--load", "30"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    ready, report = map(json.loads, done.stdout.splitlines())
    assert ready["event"] == "ready"
    assert report["broken"] == []
    assert len(report["faults"]) >= 3, "the machine may be slow, but not that slow"
    assert all("heal_to_roots" in fault["recovery"] for fault in report["faults"])
    assert {fault["kind"] for fault in report["faults"]} > {"kill"}
    transfers = report["transfers"]
    assert transfers["final"] > 50
    assert (transfers["lost"], transfers["twice"]) == (0, 0)
    picture = Path(report["timeline"]).read_text()
    assert picture.count("<polyline") >= 4 + 1 + 4, "a height for each node, finality, memory for each"
    assert "http" not in picture, "nothing from outside"
    assert len(done.stderr.splitlines()) < 30, "short enough to read"


def test_who_stands_still_when_the_keeper_is_killed_ends_too(tmp_path: Path) -> None:
    (tmp_path / "pause.toml").write_text('[[faults]]\nkind = "pause"\nfor_s = [60, 60]\n')
    command = [*PROGRAM, "testnet", "up", str(tmp_path / "net"), "--json", "--validators", "2"]
    command += ["--chaos", str(tmp_path / "pause.toml"), "--for", "200", "--links", "proxy"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as keeper:
        try:
            assert keeper.stdout is not None
            pids = [node["pid"] for node in json.loads(keeper.stdout.readline())["nodes"]]
            until(lambda: any(state(pid) == "T" for pid in pids), 40)
        finally:
            keeper.send_signal(signal.SIGKILL)
    until(lambda: all(state(pid) in ("", "Z") for pid in pids), 20)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def until(holds, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.05)
