"""The operator's errors: one sentence that names what is wrong and the remedy, shown without a traceback.

A peer's fault is another family and never an OperatorError: it is named, counted and survived where it
happens.
"""

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What decoding bytes from outside may raise: what nests too deep for msgspec, and text that is no UTF-8, are
no DecodeError."""


class OperatorError(Exception):
    """What the person at the keyboard can put right. `str(error)` is the whole sentence they see."""
