"""trio made deterministic: the order in which tasks run follows from a seed, and time passes when all wait.

Two private names of trio's are needed for it and used nowhere else: the switch that has the run loop take
ready tasks in order of their birth before it shuffles them, and the Random that it shuffles with. A thread, a
process or a socket would bring real time in; nothing that runs here has one.
"""

import gc
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
import trio._core._run as run_loop
from trio.testing import MockClock

T = TypeVar("T")


def run(main: Callable[[], Awaitable[T]], seed: int) -> T:
    """Run `main` under a virtual clock that begins at 0 and jumps when every task waits."""
    before = run_loop._ALLOW_DETERMINISTIC_SCHEDULING, run_loop._r.getstate(), gc.isenabled()
    setattr(run_loop, "_ALLOW_DETERMINISTIC_SCHEDULING", True)  # noqa: B010
    run_loop._r.seed(seed)
    # A collection would fall at another place in each process, and with it whatever a finalizer does.
    gc.disable()
    try:
        return trio.run(
            main,
            clock=MockClock(autojump_threshold=0),
            # Ctrl-C may not end a daemon in the middle of a step, and others go on with what is left of it.
            restrict_keyboard_interrupt_to_checkpoints=True,
        )
    finally:
        setattr(run_loop, "_ALLOW_DETERMINISTIC_SCHEDULING", before[0])  # noqa: B010
        run_loop._r.setstate(before[1])
        if before[2]:
            gc.enable()
