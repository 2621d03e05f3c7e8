"""The main job, as scripts/run shows it: a network of four daemons, one transfer, final on all four.

Knows the nodes only as an operator does: through `prsm-node` and its `--json`. Standard library alone.
"""

import argparse
import fcntl
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PRSM_NODE = ROOT / ".venv" / "bin" / "prsm-node"
TESTNET = ROOT / ".testnet"
VALIDATORS = 4
AMOUNT = "1.5"
# `testnet up` itself gives up on daemons that are not ready after 60 s, and says which.
READY_DEADLINE_S = 70.0
FINAL_DEADLINE_S = 30.0
STOP_DEADLINE_S = 20.0
# The passphrases lie in the homes; one that is set for another home would go before them.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PRSM_PASSPHRASE"}


class Failed(Exception):
    """What went wrong, in one sentence."""


def main() -> int:
    """Return 0 only when the transfer was seen final on every node and the network ended cleanly."""
    options = _options()
    began = time.monotonic() - options.already
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    done = False
    try:
        _make_homes()
        with Network() as network:
            _say(f"{VALIDATORS} validators run as {VALIDATORS} daemons:")
            for node in network.nodes:
                _say(f"  {node['name']}  pid {node['pid']}  {node['listen'][0]}")
            height = _send_and_see_final(network, began)
            done = True
            _say_what_next(network, height)
            network.wait(options.for_s)
    except Failed as failure:
        print(f"scripts/run: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _say("Stopped.")
        return 0 if done else 130
    _say("The time is up; all four are stopped.")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/run", description=__doc__)
    parser.add_argument(
        "--for",
        dest="for_s",
        type=float,
        metavar="SECONDS",
        help="end by itself, this long after the transfer",
    )
    parser.add_argument("--already", type=float, default=0.0, help=argparse.SUPPRESS)
    return parser.parse_args()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(line: str = "") -> None:
    print(line, flush=True)


def _make_homes() -> None:
    """Make fresh homes in .testnet; what an earlier run left there goes, unless its daemons still live."""
    for lock in TESTNET.glob("node*/daemon.lock"):
        # The kernel's lock and not daemon.json: the pid that a killed daemon leaves may be another's now.
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                command = f"{PRSM_NODE} --home {lock.parent} stop"
                raise Failed(
                    f"{lock.parent.name} of {TESTNET} is still running; stop it: {command}"
                ) from None
    shutil.rmtree(TESTNET, ignore_errors=True)
    _ask("testnet", "new", "--validators", str(VALIDATORS), "--accounts", "2", "--out", str(TESTNET))


def _ask(*arguments: str, deadline_s: float = 30.0) -> Any:
    """Run one `prsm-node` command with --json and return its object; raise Failed."""
    command = [str(PRSM_NODE), *arguments, "--json"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=deadline_s, check=False, env=ENVIRONMENT
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"`{' '.join(command)}` gave no answer within {deadline_s:g} s") from None
    if answer.returncode != 0:
        raise Failed(f"`{' '.join(command)}` failed: {answer.stderr.strip()}")
    return json.loads(answer.stdout)


class Network:
    """`prsm-node testnet up`, from its first line to its end."""

    def __enter__(self) -> "Network":
        self.log = TESTNET / "testnet.log"
        with self.log.open("wb") as log:
            # In a session of its own, so that Ctrl-C comes to us alone and the daemons end in order.
            self.process = subprocess.Popen(
                [str(PRSM_NODE), "testnet", "up", str(TESTNET), "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env=ENVIRONMENT,
            )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.nodes: list[dict[str, Any]] = self._ready()["nodes"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if self._lines.qsize() < 100:
                self._lines.put(line)
        self._lines.put(None)

    def _ready(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=READY_DEADLINE_S)
        except queue.Empty:
            raise Failed(
                f"the daemons were not ready within {READY_DEADLINE_S:g} s; see {self.log}"
            ) from None
        if line is None:
            raise Failed(f"`testnet up` ended at once: {self._last_words()}")
        event: dict[str, Any] = json.loads(line)
        if event.get("event") != "ready" or len(event["nodes"]) != VALIDATORS:
            raise Failed(f"`testnet up` began with {line.strip()!r} instead of {VALIDATORS} ready nodes")
        return event

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it said nothing in {self.log}"

    def wait(self, seconds: float | None) -> None:
        """Stay until the time is up, for ever if None; raise Failed if the network ends before."""
        try:
            code = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return
        raise Failed(f"the network ended by itself with {code}: {self._last_words()}")

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                raise Failed(
                    f"the daemons did not stop within {STOP_DEADLINE_S:g} s and were killed"
                ) from None


def _send_and_see_final(network: Network, began: float) -> int:
    """Send from dev0 to dev1 at the first node, ask every node what became of it, return its height."""
    first = network.nodes[0]
    _say(f"Sending {AMOUNT} FTNS from dev0 to dev1, through {first['name']}:")
    sent = _ask(
        "--home", first["home"], "wallet", "send", "--from", "dev0", "--to", "dev1", "--amount", AMOUNT
    )
    for node in network.nodes:
        found = _final_at(node, sent["tx"])
        if (found["height"], found["block_hash"]) != (sent["height"], sent["block_hash"]):
            raise Failed(f"{node['name']} has it in block {found['block_hash']}, not {sent['block_hash']}")
        _say(f"  {node['name']}  block {found['height']}  {found['block_hash'][:16]}...  {found['outcome']}")
    strength = sent["strength"]
    _say(
        f"{sent['tx'][:16]}... is final on all four, {sent['latency_ms']:.0f} ms after it was submitted and "
        f"{time.monotonic() - began:.1f} s after scripts/run began."
    )
    _say(
        f"To undo it, validators with more than {strength['tolerated_power']} of the voting power "
        f"{strength['total_power']} would have to be faulty."
    )
    height: int = sent["height"]
    return height


def _final_at(node: dict[str, Any], transaction: str) -> dict[str, Any]:
    """Ask one node until it has the transaction executed; the others trail the first by milliseconds."""
    deadline = time.monotonic() + FINAL_DEADLINE_S
    while True:
        try:
            found: dict[str, Any] = _ask("--home", node["home"], "tx", transaction)
            if found["state"] == "final":
                return found
            reason = f"it is {found['state']} there"
        except Failed as failure:
            reason = str(failure)
        if time.monotonic() > deadline:
            raise Failed(f"not final on {node['name']} within {FINAL_DEADLINE_S:g} s: {reason}")
        time.sleep(0.05)


def _say_what_next(network: Network, height: int) -> None:
    here = Path.cwd()
    command = PRSM_NODE.relative_to(here) if PRSM_NODE.is_relative_to(here) else PRSM_NODE
    homes = [Path(node["home"]) for node in network.nodes]
    shown = [home.relative_to(here) if home.is_relative_to(here) else home for home in homes]
    _say()
    _say("The network stays up. In another terminal:")
    _say(f"  {command} --home {shown[1]} status")
    _say(f"  {command} --home {shown[0]} wallet send --from dev0 --to dev1 --amount 2.5")
    _say(f"  {command} --home {shown[2]} block {height}")
    _say(f"  kill -9 {network.nodes[3]['pid']}; {command} --home {shown[3]} start")
    _say(f"Each daemon's log is {shown[0].parent}/node*/logs/daemon.log. Ctrl-C here ends all of it.")


if __name__ == "__main__":
    sys.exit(main())
