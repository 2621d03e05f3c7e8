"""`python -m tests.consensus.simulation.shrink_planted_bugs [NAME...]`: each planted bug, shrunk, one a line.

Exit code 1 if one is not found where planted_bugs.py says, or not brought below SHORT events in a minute.
"""

import sys
import time

import pytest

from consensus.simulation.schedule import Schedule
from consensus.simulation.shrinking import shrink
from prsm_node.cli.simulate import load
from tests.consensus.simulation.planted_bugs import BUGS

SHORT = 40
SECONDS = 60.0


def shrunk(name: str) -> tuple[Schedule | None, int]:
    """Plant a bug, shrink the seed that shows it; return what it came to, and how long it was."""
    bug = BUGS[name]
    best, whole = None, 0
    ends = time.monotonic() + SECONDS
    with pytest.MonkeyPatch.context() as patch:
        bug.plant(patch)
        for attempt in shrink(load(bug.scenario), bug.seed):
            best, whole = attempt.best, whole or attempt.best.events()
            if time.monotonic() > ends:
                break
    return best, whole


def main(names: list[str]) -> int:
    failed = 0
    for name in names or list(BUGS):
        best, whole = shrunk(name)
        if best is None:
            told = "not found"
        else:
            told = f"{whole} events -> {best.events()}, {len(best.powers)} validators; {best.promise}"
        failed += best is None or best.events() >= SHORT
        print(f"{name:<40} {told}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
