"""Catching up with real daemons: a new node that is killed in the midst goes on where it was."""

import subprocess
import sys
from pathlib import Path

import pytest

from prsm_node.bench.sync import homes_with_chain
from prsm_node.control.client import Client
from tests.daemons.fleet import Net, asks, has_height, status, until

pytestmark = pytest.mark.daemons

BLOCKS = 4_000


def durable_height(home: Path) -> int:
    with Client(home) as client:
        return int(client.ask("counters", dict[str, float]).get("ledger.durable_height", 0))


def test_a_new_node_killed_while_it_catches_up_goes_on_where_it_was_and_tells_how_far_it_is(
    tmp_path: Path,
) -> None:
    homes = [home.path for home in homes_with_chain(tmp_path, servers=2, blocks=BLOCKS, transfers=0)]
    net = Net.of(homes)
    new, servers = homes[0], homes[1:]
    try:
        net.start(*servers)
        net.start(new)
        until(lambda: has_height(new, 300), "it catches up")
        told = asks(new, "status")
        at = durable_height(new)
        net.kill(new)
        net.start(new)
        assert status(new).height >= at
        shown = subprocess.run(
            [sys.executable, "-m", "prsm_node", "--home", str(new), "status"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        assert ("catching up" in shown.stdout) or has_height(new, BLOCKS)
        until(lambda: has_height(new, BLOCKS), "it has all blocks", 60.0)
        assert told["syncing"]
        assert told["sync"] is None or told["sync"].keys() == {
            "phase",
            "done",
            "total",
            "per_second",
            "seconds_left",
            "peers",
        }
        assert told["sync_target"] == BLOCKS
        seen = [status(home) for home in homes]
        assert len({(s.height, s.block_hash, s.state_root) for s in seen}) == 1
        net.end()
    finally:
        net.end_all()
