"""Daemons that a bench starts itself, in homes that it made."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prsm_node.bench.local_network import progress
from prsm_node.bench.report import BenchFailed
from prsm_node.cli.fleet import Daemon

READY_S: Final = 60.0
POLL_S: Final = 0.05


@contextmanager
def own_daemons() -> Iterator[tuple[Path, list[Daemon]]]:
    """Give a directory for homes, and a list: the daemons put into it end with the block.

    The directory goes too, unless the block failed.
    """
    directory = Path(tempfile.mkdtemp(prefix="prsm-bench-"))
    daemons: list[Daemon] = []
    try:
        yield directory, daemons
    except BaseException:
        progress(f"the homes and logs are kept in {directory}")
        raise
    else:
        _end(daemons)
        shutil.rmtree(directory)
    finally:
        _end(daemons)


def process_up(daemon: Daemon) -> None:
    """Return when it answers; raise BenchFailed."""
    deadline = time.monotonic() + READY_S
    while daemon.up() is None:
        if daemon.process.poll() is not None or time.monotonic() > deadline:
            raise BenchFailed(f"{daemon.name} did not come up: {daemon.last_words()}")
        time.sleep(POLL_S)


def _end(daemons: list[Daemon]) -> None:
    """End them all, those that did already too."""
    for daemon in daemons:
        if daemon.process.poll() is None:
            daemon.process.terminate()
    for daemon in daemons:
        try:
            daemon.process.wait(READY_S)
        except subprocess.TimeoutExpired:
            daemon.process.kill()
