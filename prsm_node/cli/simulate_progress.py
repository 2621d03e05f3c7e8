"""How far a simulation is, on stderr: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from typing import Final

TERMINAL_S: Final = 0.2
ELSEWHERE_S: Final = 10.0


class Bar:
    """Shows parts of a whole that is known beforehand."""

    def __init__(self, whole: float) -> None:
        self._whole = max(whole, 1e-9)
        self._terminal = sys.stderr.isatty()
        self._started = self._shown = time.monotonic()
        self._drawn = False

    def begin(self, what: str) -> None:
        """Draw it empty on a terminal, where the first part takes seconds."""
        if self._terminal:
            self._shown = -TERMINAL_S
            self.show(0.0, what)

    @property
    def elapsed_s(self) -> float:
        return max(time.monotonic() - self._started, 1e-9)

    def show(self, done: float, what: str) -> None:
        """Draw it, unless it was drawn just before."""
        now = time.monotonic()
        if now - self._shown < (TERMINAL_S if self._terminal else ELSEWHERE_S):
            return
        self._shown = now
        if not self._terminal:
            print(what, file=sys.stderr, flush=True)
            return
        from prsm_node.progress_bar import bar  # loads trio, which most runs need not

        self._drawn = True
        print(f"{bar(done / self._whole, what)}\x1b[K\r", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Make room for a sentence."""
        if self._drawn:
            print("\x1b[K", end="", file=sys.stderr, flush=True)
            self._drawn = False
