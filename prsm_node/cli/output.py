"""What commands print: one JSON object for scripts, or plain aligned text for people.

Only answers go to stdout; progress and remarks go to stderr.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

JSON_HELP: Final = "Print one JSON object, for scripts."


def print_json(value: Any) -> None:
    """Print one object on one line of stdout; a stream calls this once an object."""
    import msgspec

    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print a label and a value a line, the values aligned."""
    rows = [(label, str(value)) for label, value in fields]
    width = max((len(label) for label, _ in rows), default=0)
    for label, value in rows:
        print(f"{label:<{width}}  {value}".rstrip())


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[int] = ()) -> None:
    """Print aligned columns under lower-case headings; the columns numbered in `right` are right-aligned."""
    cells = [tuple(headings), *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    for row in cells:
        aligned = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(aligned).rstrip())


def say(sentence: str) -> None:
    """Tell the person something beside the answer, on stderr."""
    print(sentence, file=sys.stderr, flush=True)
