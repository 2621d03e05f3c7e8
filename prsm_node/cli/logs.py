"""`prsm-node logs`."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import msgspec
import typer

from prsm_node.cli.home_options import chosen_home
from prsm_node.cli.output import print_json
from prsm_node.errors import OperatorError
from prsm_node.unreadable import UNREADABLE

POLL_S = 0.2
TAIL_BYTES = 1 << 20
# A log line has 20,000 characters of traceback at most; what is longer is no line of ours.
LINE_BYTES_MAX = 1 << 20
# What observability.logs.text_line writes: time, level, room, event, name=value ...
TEXT_LINE: Final = re.compile(
    r"(?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z) (?P<level>[a-z]+) +(?P<room>[^ ]+) +"
    r"(?P<event>.*?)(?: +(?P<fields>[A-Za-z_]\w*=.*))?\Z"
)


def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many last lines.", min=0)] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, for scripts.")] = False,
) -> None:
    """Print what the node logged, and follow it.

    The lines are as they were written, JSON where the node logs JSON (log.json). With --json those are
    handed on as they are; of a text line time, level, room, event and fields are told apart, the fields as
    one text, and what is no such line, as of a traceback, is an object with its text. Ctrl-C ends following.
    """
    path = chosen_home().log
    if not path.exists():
        raise OperatorError(f"there is no log at {path}; a node that was started from this home writes one")
    put: Callable[[bytes], None] = _Objects().take if json else _put
    with path.open("rb") as file:
        put(b"".join(_last_lines(file, lines)))
        position = file.tell()
    if follow:
        try:
            for piece in _pieces_after(path, position):
                put(piece)
        except KeyboardInterrupt:
            return


def _put(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


class _Objects:
    """Prints an object for each whole line of the pieces that it is given."""

    def __init__(self) -> None:
        self._begun = b""
        """Of a line whose end was not written yet."""

    def take(self, piece: bytes) -> None:
        *whole, self._begun = (self._begun + piece).split(b"\n")
        if len(self._begun) > LINE_BYTES_MAX:
            whole, self._begun = [*whole, self._begun], b""
        for line in whole:
            print_json(as_object(line))


def as_object(line: bytes) -> object:
    """Return a log line, without its line feed, as what is told of it in JSON."""
    try:
        logged = msgspec.json.decode(line)
    except UNREADABLE:
        logged = None
    if isinstance(logged, dict):
        return msgspec.Raw(line)
    text = line.decode("utf-8", "replace")
    told = TEXT_LINE.match(text)
    return {"text": text} if told is None else told.groupdict("")


def _last_lines(file: BinaryIO, count: int) -> list[bytes]:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL_BYTES))
    whole = file.read(size - file.tell()).splitlines(keepends=True)
    return whole[len(whole) - min(count, len(whole)) :]


def _pieces_after(path: Path, position: int) -> Iterator[bytes]:
    """Yield what is appended; a file that was rotated away is read to its end, then the new one."""
    while True:
        with path.open("rb") as file:
            file.seek(position)
            number = os.fstat(file.fileno()).st_ino
            while True:
                while piece := file.read(1 << 16):
                    yield piece
                try:
                    replaced = path.stat().st_ino != number
                except FileNotFoundError:
                    replaced = False
                if replaced:
                    while piece := file.read(1 << 16):
                        yield piece
                    break
                time.sleep(POLL_S)
        position = 0
