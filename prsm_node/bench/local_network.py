"""A network of daemons for a bench: `prsm-node testnet up` as a process, in a directory that goes with it."""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from prsm_node.bench.report import BenchFailed
from prsm_node.control.client import Client
from prsm_node.control.views import StatusView

READY_S: Final = 90.0
VOTING_S: Final = 30.0
ENDING_S: Final = 30.0


class Node(msgspec.Struct, frozen=True):
    name: str
    home: Path
    pid: int
    listen: list[str]


@contextmanager
def local_network(validators: int, accounts: int = 1) -> Iterator[list[Node]]:
    """Run daemons until the block ends; all are connected and vote when it begins. Raise BenchFailed."""
    directory = Path(tempfile.mkdtemp(prefix="prsm-bench-"))
    command = [sys.executable, "-m", "prsm_node", "testnet", "up", str(directory), "--json"]
    command += ["--validators", str(validators), "--accounts", str(accounts), "--parent", str(os.getpid())]
    keeper = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        nodes = _ready(keeper)
        _wait_until_all_vote(nodes)
        yield nodes
    except BaseException:
        progress(f"the homes and logs are kept in {directory}")
        raise
    else:
        _end(keeper)
        shutil.rmtree(directory)
    finally:
        _end(keeper)


def progress(sentence: str) -> None:
    """Say on stderr how far a bench is."""
    print(sentence, file=sys.stderr, flush=True)


def _ready(keeper: "subprocess.Popen[bytes]") -> list[Node]:
    assert keeper.stdout is not None, "stdout is a pipe"
    readable, _, _ = select.select([keeper.stdout], [], [], READY_S)
    line = keeper.stdout.readline() if readable else b""
    if not line:
        raise BenchFailed("the daemons did not come up; see above and their logs")
    event = json.loads(line)
    return [Node(node["name"], Path(node["home"]), node["pid"], node["listen"]) for node in event["nodes"]]


def _wait_until_all_vote(nodes: list[Node]) -> None:
    deadline = time.monotonic() + VOTING_S
    waiting = list(nodes)
    while waiting:
        waiting = [node for node in waiting if not _votes(node, peers=len(nodes) - 1)]
        if waiting and time.monotonic() > deadline:
            names = ", ".join(node.name for node in waiting)
            raise BenchFailed(f"after {VOTING_S:g} s these do not vote or lack peers: {names}")
        time.sleep(0.1)


def _votes(node: Node, peers: int) -> bool:
    with Client(node.home) as client:
        status = client.ask("status", StatusView)
    return status.voting and not status.syncing and status.peers >= peers


def _end(keeper: "subprocess.Popen[bytes]") -> None:
    if keeper.poll() is None:
        keeper.terminate()
        try:
            keeper.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()
    if keeper.stdout is not None:
        keeper.stdout.close()
