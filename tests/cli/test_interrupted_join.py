"""A join that was interrupted is neither forgotten nor in the way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prsm_node import genesis as genesis_file
from prsm_node import invite as invites
from prsm_node.cli import home_making, unfinished_join
from prsm_node.cli.app import run
from prsm_node.errors import OperatorError
from prsm_node.genesis import Genesis
from prsm_node.home import Home
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.identity.peer_ids import peer_id
from prsm_node.invite import Invite

NOW_MS = time.time_ns() // 1_000_000
KEY = SigningKey.from_seed(b"\x01" * 32).public


@pytest.fixture
def network() -> Genesis:
    return genesis_file.genesis("joined", NOW_MS, [(KEY, 1, "one")], [])


def invite_to(network: Genesis) -> str:
    address = f"/ip4/127.0.0.1/tcp/9/p2p/{peer_id(KEY)}"
    return invites.encode(Invite(network.hash, 0, network.hash, NOW_MS, (address,)))


def test_a_join_killed_anywhere_can_be_run_again_and_start_makes_no_network_instead(
    tmp_path: Path, network: Genesis
) -> None:
    home, known = Home(tmp_path / "homes" / "follower"), tmp_path / "genesis.json"
    genesis_file.save(network, known)
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.killed_join", str(home.path), invite_to(network), str(known)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"PRSM_PASSPHRASE": "of a home that joins"},
    )
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(runs) > 20, "each act was the last one once"
    assert {one["ended"] for one in runs} == {-signal.SIGKILL}
    # What was killed before the intent's folder was made has left nothing.
    begun = [one for one in runs if "nobody wanted to join here" not in one["told"]]
    assert len(begun) >= len(runs) - 3
    for one in begun:
        assert one["code"] == 1
        assert f"the join of {home.path} was begun and is not finished; go on with: " in one["told"]
    assert genesis_file.load(home.genesis).hash == network.hash
    assert os.listdir(tmp_path / "homes") == ["follower"]


def test_a_join_that_failed_is_remembered_until_a_home_is_made(
    tmp_path: Path, network: Genesis, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PRSM_PASSPHRASE", raising=False)
    monkeypatch.setattr("sys.stdin", None)
    home = ["--home", str(tmp_path / "home")]
    assert run([*home, "join", "prsm-invite-1mistyped"]) == 1
    assert list(tmp_path.iterdir()) == [], "what is no invite begins nothing"
    assert run([*home, "join", invite_to(network)]) == 1
    assert "new keys need a passphrase" in capsys.readouterr().err
    for command in ("start", "wallet list"):
        assert run([*home, *command.split()]) == 1
        assert f"prsm-node {home[0]} {home[1]} join INVITE" in capsys.readouterr().err
    assert run([*home, "init", "--dev"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_two_joins_at_once_do_not_spoil_each_other(tmp_path: Path) -> None:
    place = tmp_path / "home"
    with home_making.joining_home(place) as draft:
        draft.config.touch()
        with (
            pytest.raises(OperatorError, match="another prsm-node joins"),
            home_making.joining_home(place),
        ):
            raise AssertionError("it was let in")
        assert draft.config.exists()
    assert Home(place).config.exists()
    assert not unfinished_join.folder(place).exists()
