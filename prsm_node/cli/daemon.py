"""How commands reach the daemon of the chosen home, and how they show the times in its answers."""

import sys
from datetime import UTC, datetime

from prsm_node.cli.home_options import chosen_home
from prsm_node.control.client import Client


def daemon() -> Client:
    """Connect to the daemon of the chosen home; raise NoDaemon, which says how to start one."""
    return Client(chosen_home().path)


def rfc3339(time_ms: int) -> str | None:
    """Return `2026-01-31T12:00:00.250Z`; None for 0, which is no time."""
    if time_ms == 0:
        return None
    whole = datetime.fromtimestamp(time_ms // 1_000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{time_ms % 1_000:03}Z"


def milliseconds(value: float | None) -> float | None:
    """Round to a tenth: what the socket measures is no finer."""
    return None if value is None else round(value, 1)


def program() -> str:
    """Return how the operator calls this program, for commands to copy."""
    import shlex
    from shutil import which

    called = sys.argv[0]
    if called.endswith("__main__.py"):
        return f"{shlex.quote(sys.executable)} -m prsm_node"
    return "prsm-node" if which("prsm-node") == called else shlex.quote(called)
