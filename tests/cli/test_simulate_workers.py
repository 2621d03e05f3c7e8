"""Processes that share seeds give results in order, and none outlives who started them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from prsm_node.cli.simulate_workers import in_order
from prsm_node.errors import OperatorError

SIMULATE = (sys.executable, "-m", "prsm_node", "simulate", "--seeds", "0..99999", "--jobs", "2", "--out")


def square(seed: int) -> int:
    return seed * seed


def die_at_three(seed: int) -> int:
    if seed == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return seed


def test_results_come_in_the_order_of_the_seeds() -> None:
    assert list(in_order(square, range(5, 12), 3)) == [seed * seed for seed in range(5, 12)]


def test_a_process_that_is_killed_is_told_of() -> None:
    with pytest.raises(OperatorError, match="seed 3 ended by signal 9"):
        list(in_order(die_at_three, range(10), 2))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_one_that_was_ended(how: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        [*SIMULATE, str(tmp_path)],
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Tests that a shell runs in the background inherit that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as simulate:
        try:
            workers = _workers(simulate.pid)
            os.killpg(simulate.pid, how) if how is signal.SIGINT else simulate.kill()
            assert simulate.wait(10) == (130 if how is signal.SIGINT else -how)
            told = simulate.stderr.read() if simulate.stderr else b""
            # Who is killed while it starts workers leaves them half of what they are to do.
            assert how is signal.SIGKILL or b"Traceback" not in told
            ends = time.monotonic() + 20
            while any(_runs(pid) for pid in workers):
                assert time.monotonic() < ends
                time.sleep(0.05)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(simulate.pid, signal.SIGKILL)


def _workers(parent: int) -> Sequence[int]:
    """Wait for the two workers and whoever helps them."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    ends = time.monotonic() + 20
    while len(found := [int(pid) for pid in children.read_text().split()]) < 3:
        assert time.monotonic() < ends
        time.sleep(0.05)
    return found


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
