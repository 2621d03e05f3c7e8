"""What decoding bytes from outside may raise, in one tuple for every reader."""

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What nests too deep for msgspec, and text that is no UTF-8, are no DecodeError."""
