"""What a daemon does so that it holds after weeks what it held after minutes.

Cyclic garbage is collected by the clock. By count it would hardly ever be: nearly all that a daemon makes
dies by reference count, so that the hundreds of objects in cycles that each lost connection leaves, buffers
among them, would lie for hours.

Large buffers go back to the system as they are freed. glibc would raise the size from which on it does so
with the first of them (mallopt(3), M_MMAP_THRESHOLD), and keep batches in a heap that small things soon pin.
"""

import ctypes
import gc
from typing import Final

import trio

COLLECT_S: Final = 30.0
"""A collection takes a millisecond or two of the loop: it goes through what start-up did not make."""

THRESHOLD: Final = 50_000
"""Of objects in containers that came and did not go: a burst of garbage is collected before its time."""

M_MMAP_THRESHOLD: Final = -3
LARGE_BYTES: Final = 128 * 1024


def return_large_buffers() -> None:
    """Fix the size from which on a buffer is a mapping of its own; C libraries without mallopt stay as they
    are."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def set_start_up_aside() -> None:
    """What start-up made, libp2p's 80 MB above all, is never garbage: collections pass it by."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD, 20, 50)


async def collect() -> None:
    """Collect every COLLECT_S, until cancelled."""
    while True:
        await trio.sleep(COLLECT_S)
        gc.collect()
