"""Orders of a keeper to router.py and proxy.py: one JSON object a line on stdin, answered when it holds.

The end of stdin is the end of the keeper: processes that it had stopped are let go on, so that they see it
and end too.
"""

import contextlib
import os
import signal
from types import TracebackType
from typing import Final, Self

import msgspec

from prsm_node.chaos.shaping import Conditions

STDIN: Final = 0
STDOUT: Final = 1
READ_BYTES: Final = 65_536

_conditions = msgspec.json.Decoder(Conditions)


class Orders:
    """The orders of a keeper."""

    descriptor: Final = STDIN

    def __init__(self) -> None:
        self.over = False
        self._buffer = b""
        self._stopped: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid in self._stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def read(self) -> list[Conditions]:
        """Read what has come; `over` afterwards says that no more will."""
        received = os.read(STDIN, READ_BYTES)
        self.over = not received
        *lines, self._buffer = (self._buffer + received).split(b"\n")
        found = [_conditions.decode(line) for line in lines]
        if found:
            self._stopped = found[-1].stopped
        return found

    def done(self) -> None:
        """Say that the last order holds."""
        os.write(STDOUT, b"ok\n")
