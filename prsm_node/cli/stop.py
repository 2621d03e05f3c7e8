"""`prsm-node stop`."""

import time
from contextlib import suppress

import msgspec

from prsm_node.cli.daemon import daemon
from prsm_node.cli.home_options import chosen_home
from prsm_node.cli.output import print_json, say
from prsm_node.control.client import NoDaemon
from prsm_node.control.views import StatusView
from prsm_node.errors import OperatorError

# What is queued is made durable and the state committed once: a second or two, more on a slow disk.
ENDING_S = 30.0


def stop(json: bool = False) -> None:
    """Stop the running node and wait until it has ended."""
    home = chosen_home()
    with daemon() as client:
        pid = client.ask("status", StatusView).pid
        with suppress(NoDaemon):  # it may end before its answer is out
            client.ask("stop", msgspec.Raw)
    deadline = time.monotonic() + ENDING_S
    while _lives(pid):
        if time.monotonic() > deadline:
            raise OperatorError(f"the daemon {pid} did not end within {ENDING_S:g} s; its log is {home.log}")
        time.sleep(0.05)
    if json:
        print_json({"stopped": True, "pid": pid})
    else:
        say(f"stopped the node at {home.path}")


def _lives(pid: int) -> bool:
    """Whether the process runs; one that has ended and whose parent has not looked yet does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False
