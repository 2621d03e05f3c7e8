"""SIGTERM heard as Ctrl-C: what a long command began is put away, and its processes end with it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def as_by_ctrl_c() -> Iterator[None]:
    """While in the block, have SIGTERM raise KeyboardInterrupt where Ctrl-C would; also where whoever started
    this process had it ignore Ctrl-C. For the main thread."""

    def end(number: int, frame: object) -> None:
        # trio hears SIGINT by a handler of its own while it runs.
        if not callable(signal.getsignal(signal.SIGINT)):
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
