"""`prsm-node logs`."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from prsm_node.cli.home_options import chosen_home
from prsm_node.errors import OperatorError

POLL_S = 0.2
TAIL_BYTES = 1 << 20


def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many last lines.", min=0)] = 50,
) -> None:
    """Print what the node logged, and follow it.

    The lines are as they were written, JSON where the node logs JSON. Ctrl-C ends following.
    """
    path = chosen_home().log
    if not path.exists():
        raise OperatorError(f"there is no log at {path}; a node that was started from this home writes one")
    with path.open("rb") as file:
        for line in _last_lines(file, lines):
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        position = file.tell()
    if follow:
        try:
            for piece in _pieces_after(path, position):
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
        except KeyboardInterrupt:
            return


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
