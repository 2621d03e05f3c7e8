"""Daemons of a local network as the tests drive them: started, killed, asked, and read after their end.

Every wait has a deadline and says what it waited for. Processes are ended by pid, at the end all of them.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from prsm_node.cli import home_making
from prsm_node.cli.fleet import Daemon
from prsm_node.cli.passphrase import passphrase_of
from prsm_node.control.client import Client
from prsm_node.control.protocol import ControlError
from prsm_node.control.views import BlockView, StatusView
from prsm_node.home import Home
from prsm_node.identity import wallets
from prsm_node.identity.ed25519 import SigningKey

PROGRAM = [sys.executable, "-m", "prsm_node"]
UP_S = 30.0
WAIT_S = 20.0
POLL_S = 0.03


class Net:
    """A network of validators on loopback; `dev0`... are funded wallets of its first home."""

    def __init__(self, directory: Path, validators: int = 4, accounts: int = 6) -> None:
        homes = [directory / f"node{i}" for i in range(validators)]
        home_making.local_network(homes, "daemons", accounts)
        self.homes = homes
        self.daemons: dict[Path, Daemon] = {}

    @classmethod
    def of(cls, homes: list[Path]) -> "Net":
        """Daemons of homes that are there."""
        net = cls.__new__(cls)
        net.homes, net.daemons = homes, {}
        return net

    def start(self, *homes: Path) -> None:
        """Start these homes' daemons, or all, and wait until each answers."""
        for home in homes or self.homes:
            if home in self.daemons:
                self.daemons[home].restart()
            else:
                self.daemons[home] = Daemon(home)
        for home in homes or self.homes:
            until(partial(self._answers, home), f"{home.name} answers", UP_S)

    def _answers(self, home: Path) -> bool:
        daemon = self.daemons[home]
        ended = daemon.process.poll()
        assert ended is None, f"{home.name} ended with {ended}: {daemon.last_words()}"
        return daemon.up() is not None

    def kill(self, *homes: Path) -> None:
        """kill -9, all at once."""
        for home in homes or self.homes:
            os.kill(self.daemons[home].process.pid, signal.SIGKILL)
        for home in homes or self.homes:
            assert self.daemons[home].process.wait(5) == -signal.SIGKILL, f"{home.name} had ended before"

    def end(self, *homes: Path) -> float:
        """SIGTERM; return after how many seconds all had ended, with code 0."""
        began = time.monotonic()
        for home in homes or self.homes:
            os.kill(self.daemons[home].process.pid, signal.SIGTERM)
        for home in homes or self.homes:
            daemon = self.daemons[home]
            assert daemon.process.wait(15) == 0, f"{home.name}: {daemon.last_words()}"
        return time.monotonic() - began

    def end_all(self) -> None:
        """Leave no process behind, whatever the test did."""
        for daemon in self.daemons.values():
            if daemon.process.poll() is None:
                daemon.process.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.process.wait(10)
            except subprocess.TimeoutExpired:
                daemon.process.kill()
                daemon.process.wait()

    def runs(self, home: Path) -> bool:
        return home in self.daemons and self.daemons[home].process.poll() is None

    def wait_voting(self, *homes: Path, within_s: float = WAIT_S) -> None:
        """Wait until these, or all, vote and follow the tip."""
        for home in homes or self.homes:
            until(partial(votes, home), f"{home.name} votes: {_why(home)}", within_s)

    def wait_level(self, *homes: Path, within_s: float = WAIT_S) -> int:
        """Wait until these, or all, are at one height, with nothing pending; return it."""

        def level() -> bool:
            seen = [status(home) for home in homes or self.homes]
            return len({s.height for s in seen}) == 1 and not any(s.mempool or s.syncing for s in seen)

        until(level, "all are at one height with nothing pending", within_s)
        return status((homes or tuple(self.homes))[0]).height


@contextmanager
def running(directory: Path, validators: int = 4) -> Iterator[Net]:
    """A network whose daemons all vote; at the end no process is left."""
    net = Net(directory, validators)
    try:
        net.start()
        net.wait_voting()
        yield net
    finally:
        net.end_all()


def until(holds: Callable[[], bool], claim: str, within_s: float = WAIT_S) -> None:
    """Wait until it holds; a daemon that does not answer yet is waited for."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            if holds():
                return
        except ControlError as error:
            claim = f"{claim.partition(' (')[0]} ({error})"
        assert time.monotonic() < deadline, f"after {within_s:g} s it does not hold that {claim}"
        time.sleep(POLL_S)


def status(home: Path) -> StatusView:
    with Client(home) as client:
        return client.ask("status", StatusView)


def counter(home: Path, name: str) -> float:
    with Client(home) as client:
        return client.ask("counters", dict[str, float])[name]


def has_height(home: Path, height: int) -> bool:
    return status(home).height >= height


def votes(home: Path) -> bool:
    now = status(home)
    return now.voting and not now.syncing


def _why(home: Path) -> str:
    try:
        return status(home).not_voting_because
    except ControlError as error:
        return str(error)


def blocks(home: Path, last: int, first: int = 1) -> list[BlockView]:
    """Return the blocks of these heights as this node has them."""
    with Client(home) as client:
        return [client.ask("block", BlockView, height=height) for height in range(first, last + 1)]


def same_chain(homes: Sequence[Path], height: int) -> list[BlockView]:
    """Assert that all have the same blocks and roots up to `height`; return them."""
    chains = [blocks(home, height) for home in homes]
    for of_all in zip(*chains, strict=True):
        told = {(b.height, b.hash, b.state_root, b.proposer, tuple(b.transactions)) for b in of_all}
        assert len(told) == 1, f"height {of_all[0].height} differs: {told}"
    return chains[0]


def wallet_keys(home: Path) -> list[SigningKey]:
    """Return the keys of a home's wallets."""
    passphrase = passphrase_of(Home(home))
    return [wallets.unlocked(Home(home), found.name, passphrase) for found in wallets.listed(Home(home))]


def asks(home: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run a command with --json and return its object."""
    command = [*PROGRAM, "--home", str(home), *arguments, "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=os.environ | environment, check=False
    )
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def fails(home: Path, *arguments: str, within_s: float = 20.0) -> str:
    """Run a command that must end with 1 and a sentence; return the sentence."""
    command = [*PROGRAM, "--home", str(home), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=within_s, check=False)
    assert done.returncode == 1, f"{arguments} ended with {done.returncode}: {done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr.strip()
