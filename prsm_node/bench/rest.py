"""A daemon that has nothing to do, with all its processes; and how long commands take beside it.

Memory is Pss: a page that daemons share counts in parts, as it does where several run. CPU is of one core.
The figures are those of the daemon that costs most.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from prsm_node.bench.local_network import Node, local_network, progress
from prsm_node.bench.processes import cpu_s, memory_mb
from prsm_node.bench.report import BenchFailed, Metric
from prsm_node.control.client import Client
from prsm_node.control.protocol import ControlError
from prsm_node.control.views import StatusView

SETTLED_S: Final = 3.0
COMMANDS: Final = 10
STARTS: Final = 3
STARTED_S: Final = 30.0
POLL_S: Final = 0.01


def rest(validators: int, seconds: float) -> dict[str, Metric]:
    """Measure on a network of its own. Raise BenchFailed."""
    with local_network(validators) as nodes:
        time.sleep(SETTLED_S)
        progress(f"at rest for {seconds:g} s")
        before, started = [cpu_s([node.pid]) for node in nodes], time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - started
        used = [cpu_s([node.pid]) - cpu for node, cpu in zip(nodes, before, strict=True)]
        memory = [memory_mb(node.pid) for node in nodes]
        home = nodes[0].home
        help_ms = _times_ms("--help")
        status_ms = _times_ms("--home", str(home), "status", "--json")
        _run("--home", str(nodes[-1].home), "stop")
        listening_ms = [_start_to_listening_ms(nodes[-1]) for _ in range(STARTS)]
    return {
        "memory_mb": Metric.single(max(pss for pss, _ in memory), "MB", len(nodes)),
        "memory_rss_mb": Metric.single(max(rss for _, rss in memory), "MB", len(nodes)),
        "cpu_percent": Metric.single(100 * max(used) / elapsed, "%", len(nodes)),
        "help": Metric.distribution(help_ms, "ms"),
        "status": Metric.distribution(status_ms, "ms"),
        "start_to_listening": Metric.distribution(listening_ms, "ms"),
    }


def _times_ms(*arguments: str) -> list[float]:
    """How long this command takes as a process; the first one, which warms the caches, is left out."""
    taken = []
    for _ in range(COMMANDS + 1):
        started = time.perf_counter()
        _run(*arguments)
        taken.append((time.perf_counter() - started) * 1_000)
    return taken[1:]


def _run(*arguments: str) -> None:
    silent = subprocess.DEVNULL
    subprocess.run([*_program(), *arguments], stdout=silent, stderr=silent, check=True)


def _program() -> list[str]:
    """The console script beside this interpreter, which is what operators call."""
    script = Path(sys.executable).parent / "prsm-node"
    return [str(script)] if script.exists() else [sys.executable, "-m", "prsm_node"]


def _start_to_listening_ms(node: Node) -> float:
    """Start a stopped daemon again on its home, and time that until it listens and answers; end it."""
    started = time.perf_counter()
    console = subprocess.DEVNULL
    daemon = subprocess.Popen(
        [*_program(), "--home", str(node.home), "start"], stdout=console, stderr=console
    )
    try:
        while not _listens(node.home, daemon.pid):
            if time.perf_counter() - started > STARTED_S or daemon.poll() is not None:
                raise BenchFailed(f"{node.name} did not start again; see {node.home}/logs")
            time.sleep(POLL_S)
        return (time.perf_counter() - started) * 1_000
    finally:
        daemon.terminate()
        try:
            daemon.wait(STARTED_S)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _listens(home: Path, pid: int) -> bool:
    try:
        with Client(home) as client:
            status = client.ask("status", StatusView)
    except ControlError:
        return False
    return status.pid == pid and bool(status.listen)
