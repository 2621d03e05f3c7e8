"""`testnet up` with real daemons: it says when they are ready and who died, and leaves nobody behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prsm_node.control.client import Client, NoDaemon

pytestmark = pytest.mark.daemons

PROGRAM = [sys.executable, "-m", "prsm_node"]
Keeper = subprocess.Popen[bytes]


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    command = [*PROGRAM, "testnet", "up", str(tmp_path / "net")]
    command += ["--validators", "2", "--accounts", "1", "--json"]
    # A passphrase that is set for another home stops none of these, which have their own beside them.
    environment = {**os.environ, "PRSM_PASSPHRASE": "of another home"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        yield process
        if process.poll() is None:
            process.terminate()


def event(keeper: Keeper) -> dict[str, Any]:
    assert keeper.stdout is not None
    return json.loads(keeper.stdout.readline())


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_end(pids: list[int], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while any(lives(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_dead_node_is_reported_stays_dead_and_sigterm_ends_the_rest(keeper: Keeper) -> None:
    ready = event(keeper)
    assert ready["event"] == "ready"
    assert [node["name"] for node in ready["nodes"]] == ["node0", "node1"]
    first, second = (node["pid"] for node in ready["nodes"])
    home = ready["nodes"][0]["home"]
    record = json.loads((Path(home) / "daemon.json").read_text())
    assert (record["pid"], record["listen"]) == (first, ready["nodes"][0]["listen"])

    os.kill(second, signal.SIGKILL)
    died = event(keeper)
    assert (died["event"], died["name"], died["pid"], died["code"]) == ("died", "node1", second, -9)
    assert lives(first)

    deadline = time.monotonic() + 20
    while (status := asks(Path(home), "status"))["stands_ms"] == 0:
        assert time.monotonic() < deadline, "without a quorum the chain stands, and status says so"
        time.sleep(0.2)
    power = status["reachable_power"]
    assert power == status["voting"], "its own, once it votes"
    assert status["total_power"] == 2
    told = subprocess.run([*PROGRAM, "--home", home, "status"], stdout=subprocess.PIPE, text=True, check=True)
    assert "the chain stands: no block for" in told.stdout
    assert f"of the voting power 2, {power} can be reached" in told.stdout

    keeper.send_signal(signal.SIGTERM)
    assert keeper.wait(20) == 0
    assert not lives(first)
    assert not (Path(home) / "daemon.json").exists(), "a clean end takes the record with it"


def test_without_a_home_start_makes_a_network_that_pays_and_can_be_joined(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    daemon = subprocess.Popen([*PROGRAM, "--home", str(home), "start"], stderr=subprocess.DEVNULL)
    try:
        wait_until_it_answers(home)
        sent = asks(home, "wallet", "send", "--from", "dev0", "--to", "dev0", "--amount", "1")
        assert asks(home, "block", str(sent["height"]))["transactions"] == [sent["tx"]]
        assert asks(home, "status")["finality_ms"]["p50"] > 0
        invite = asks(home, "invite")["invite"]
        joined = asks(other, "join", invite)
        assert joined["network"] == asks(home, "status")["network"]
        assert asks(home, "stop") == {"stopped": True, "pid": daemon.pid}
        assert daemon.wait(1) == 0
    finally:
        daemon.kill()
        daemon.wait()


def wait_until_it_answers(home: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            Client(home).close()
            return
        except NoDaemon:
            assert time.monotonic() < deadline, "the daemon did not come up"
            time.sleep(0.1)


def asks(home: Path, *arguments: str) -> dict[str, Any]:
    environment = os.environ | {"PRSM_PASSPHRASE": "of a home that joins"} if "join" in arguments else None
    command = [*PROGRAM, "--home", str(home), *arguments, "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment).stdout)


def test_the_nodes_end_when_their_keeper_is_killed(keeper: Keeper) -> None:
    pids = [node["pid"] for node in event(keeper)["nodes"]]
    keeper.kill()
    assert all_end(pids, within_s=15)
