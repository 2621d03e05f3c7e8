"""Cyclic garbage of a daemon is collected by the clock.

By count it would hardly ever be: nearly all that a daemon makes dies by reference count, so that the
hundreds of objects in cycles that each lost connection leaves, buffers among them, would lie for hours.
"""

import gc
from typing import Final

import trio

COLLECT_S: Final = 30.0
"""A collection takes a millisecond or two of the loop: it goes through what start-up did not make."""

THRESHOLD: Final = 50_000
"""Of objects in containers that came and did not go: a burst of garbage is collected before its time."""


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
