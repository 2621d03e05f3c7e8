"""What commands print: one JSON object for scripts, or plain aligned text for people.

Only answers go to stdout; progress and remarks go to stderr.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from prsm_node.errors import OperatorError

JSON_HELP: Final = "Print one JSON object, for scripts."


def print_json(value: Any) -> None:
    """Print one object on one line of stdout; a stream calls this once an object."""
    import msgspec

    _put(msgspec.json.encode(value).decode() + "\n")


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print a label and a value a line, the values aligned."""
    rows = [(label, str(value)) for label, value in fields]
    width = max((len(label) for label, _ in rows), default=0)
    _put("".join(f"{label:<{width}}  {value}".rstrip() + "\n" for label, value in rows))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[int] = ()) -> None:
    """Print aligned columns under lower-case headings; the columns numbered in `right` are right-aligned."""
    cells = [tuple(headings), *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = []
    for row in cells:
        aligned = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(aligned).rstrip() + "\n")
    _put("".join(lines))


def _put(text: str) -> None:
    """Write to stdout at once; raise OperatorError where that is a file on a full disk."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        no_more_output()
        why = (error.strerror or type(error).__name__).lower()
        raise OperatorError(f"the answer can't be written to stdout: {why}") from None


def no_more_output() -> None:
    """Let stdout lead nowhere: Python would complain again of one that failed when it closes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(sentence: str) -> None:
    """Tell the person something beside the answer, on stderr."""
    print(sentence, file=sys.stderr, flush=True)
