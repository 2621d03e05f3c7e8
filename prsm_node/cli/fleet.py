"""Several daemons as processes of their own on this machine: started, watched, ended.

Each is in its own process group, so that a Ctrl-C reaches only its keeper, and is told its keeper's pid, so
that it ends when the keeper is killed. Processes are ended by pid and nothing else.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from prsm_node.control.client import Client
from prsm_node.control.protocol import ControlError
from prsm_node.control.views import StatusView
from prsm_node.errors import OperatorError

# libp2p imports in 0.6 s of CPU; 30 daemons on one core need 20 s.
READY_S: Final = 60.0
ENDING_S: Final = 15.0
RESTART_S: Final = 1.0
POLL_S: Final = 0.05
PASSPHRASE_FILE: Final = "passphrase"  # as home_making has it, which is not loaded here for what it imports
PASSPHRASE_VARIABLE: Final = "PRSM_PASSPHRASE"
LOG_STDERR_VARIABLE: Final = "PRSM_LOG__STDERR"
CONSOLE: Final = "console.log"
"""What a daemon writes to its terminal, below H/logs: why it ended early, and what its log could not take."""


class NodeUp(msgspec.Struct, frozen=True):
    """A node that listens and answers."""

    name: str
    home: str
    pid: int
    listen: list[str]


class NodeEnded(msgspec.Struct, frozen=True):
    name: str
    home: str
    pid: int
    code: int
    """As subprocess has it: negative is the number of a signal."""


class Daemon:
    """One daemon and its home."""

    def __init__(
        self,
        home: Path,
        environment: Mapping[str, str] = MappingProxyType({}),
        place: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`environment` is added to this process'; the daemon is born in the network that `place` enters."""
        self.home = home
        self._environment = environment
        self._place = place
        self.name = home.name
        self.ended_at: float | None = None
        self._start()

    def _start(self) -> None:
        logs = self.home / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        unset = {"PYTHONDONTWRITEBYTECODE"}
        if (self.home / PASSPHRASE_FILE).exists():
            unset.add(PASSPHRASE_VARIABLE)  # set for another home, it would go before this one's own
        environment = {k: v for k, v in os.environ.items() if k not in unset}
        environment |= {LOG_STDERR_VARIABLE: "false", **self._environment}
        command = [sys.executable, "-m", "prsm_node", "--home", str(self.home), "start"]
        with (logs / CONSOLE).open("ab") as console, self._place():
            self.process = subprocess.Popen(
                [*command, "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env=environment,
            )

    def restart(self) -> None:
        """Start it once more after it died."""
        assert self.process.poll() is not None, f"{self.name} still runs as {self.process.pid}"
        self.ended_at = None
        self._start()

    def up(self) -> NodeUp | None:
        """What it is reached by, once it listens and answers."""
        try:
            with Client(self.home) as client:
                status = client.ask("status", StatusView)
        except ControlError:
            return None
        if status.pid != self.process.pid or not status.listen:
            return None
        return NodeUp(self.name, str(self.home), status.pid, status.listen)

    def last_words(self) -> str:
        """The last line of what it wrote to its terminal."""
        lines = (self.home / "logs" / CONSOLE).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


class Fleet:
    """Daemons of these homes, all started at once."""

    def __init__(self, homes: Sequence[Path], make: Callable[[Path], Daemon] = Daemon) -> None:
        """`make` starts the daemon of a home."""
        self.daemons: list[Daemon] = []
        try:
            for home in homes:
                self.daemons.append(make(home))
        except BaseException:
            self.stop()
            raise

    def wait_ready(self, alarm: "Alarm") -> list[NodeUp]:
        """Wait until all answer; raise OperatorError if one ends before, or READY_S pass.

        Return fewer than all where the alarm says to end.
        """
        deadline = time.monotonic() + READY_S
        ready: dict[str, NodeUp] = {}
        while len(ready) < len(self.daemons) and not alarm.ending:
            for daemon in self.daemons:
                if daemon.process.poll() is not None:
                    raise OperatorError(
                        f"{daemon.name} ended with {daemon.process.returncode} before it was ready: "
                        f"{daemon.last_words()} (all of it is in {daemon.home / 'logs'})"
                    )
                if daemon.name not in ready and (up := daemon.up()) is not None:
                    ready[daemon.name] = up
            if time.monotonic() > deadline:
                missing = ", ".join(d.name for d in self.daemons if d.name not in ready)
                raise OperatorError(f"not ready after {READY_S:g} s: {missing}; see logs/ in their homes")
            alarm.wait(POLL_S)
        return [ready[daemon.name] for daemon in self.daemons if daemon.name in ready]

    def newly_ended(self) -> Iterator[NodeEnded]:
        """Report each end once."""
        for daemon in self.daemons:
            code = daemon.process.poll()
            if code is not None and daemon.ended_at is None:
                daemon.ended_at = time.monotonic()
                yield NodeEnded(daemon.name, str(daemon.home), daemon.process.pid, code)

    def restart_due(self) -> Iterator[Daemon]:
        """Restart who died, not who was stopped, RESTART_S ago."""
        for daemon in self.daemons:
            at = daemon.ended_at
            if at is not None and daemon.process.returncode != 0 and time.monotonic() - at > RESTART_S:
                daemon.restart()
                yield daemon

    def stop(self) -> list[str]:
        """End all, by SIGTERM and after ENDING_S by SIGKILL; return the names of those that had to be killed.

        Processes that a killed daemon leaves behind see its end of their sockets close, and end.
        """
        alive = [daemon for daemon in self.daemons if daemon.process.poll() is None]
        for daemon in alive:
            daemon.process.terminate()
        deadline = time.monotonic() + ENDING_S
        killed = []
        for daemon in alive:
            try:
                daemon.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                killed.append(daemon.name)
                daemon.process.kill()
                daemon.process.wait()
        return killed


class Alarm:
    """Wakes a waiting keeper at SIGTERM, SIGINT and when a child ends."""

    def __init__(self, receiver: socket.socket) -> None:
        self._receiver = receiver
        self.ending = False

    def wait(self, timeout_s: float) -> None:
        readable, _, _ = select.select([self._receiver], [], [], timeout_s)
        if readable:
            signals = self._receiver.recv(64)
            self.ending = self.ending or bool(set(signals) & {signal.SIGTERM, signal.SIGINT})


@contextmanager
def alarm() -> Iterator[Alarm]:
    """Take over SIGTERM, SIGINT and SIGCHLD while in the block."""
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    watched = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
    with receiver, sender:
        before = {number: signal.signal(number, lambda *_: None) for number in watched}
        descriptor = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        try:
            yield Alarm(receiver)
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)
