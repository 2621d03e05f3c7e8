"""A line on a terminal that says how far something long is: redrawn in place, gone when it is over.

Each drawing leaves the cursor at the line's begin, so that a log line written meanwhile takes its place and
the next drawing comes below it.
"""

import sys
from collections.abc import Callable
from typing import Final

import trio

SHOWN_EVERY_S: Final = 0.2
CHARACTERS: Final = 24


def bar(share: float, sentence: str) -> str:
    """Return a share of 0 to 1 as a bar, and the sentence."""
    full = round(min(max(share, 0.0), 1.0) * CHARACTERS)
    return f"[{'#' * full}{'.' * (CHARACTERS - full)}] {sentence}"


async def show(line: Callable[[], str | None]) -> None:
    """Keep drawing what `line` gives, None for nothing, until cancelled. Does nothing without a terminal."""
    if not sys.stderr.isatty():
        return
    drawn = False
    try:
        while True:
            text = line()
            if text is not None or drawn:
                print(f"{text or ''}\x1b[K\r", end="", file=sys.stderr, flush=True)
            drawn = text is not None
            await trio.sleep(SHOWN_EVERY_S)
    finally:
        if drawn:
            print("\x1b[K", end="", file=sys.stderr, flush=True)
