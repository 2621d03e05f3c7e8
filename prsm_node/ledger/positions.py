"""Where a transaction stands in the chain: height and index in one 64-bit integer, ordered as the chain is.

Index counts all transactions of a block in its execution order, skipped ones too. No transaction stands in
the genesis, so that 0 means "none".
"""

from typing import Final

# A block holds at most 256 lanes x 32 batches x 64 KB / 156 bytes = 3.4 million transactions, below 2^24.
INDEX_BITS: Final = 24
INDEX_MAX: Final = 2**INDEX_BITS - 1
HEIGHT_MAX: Final = 2**39 - 1
"""17,000 years of a block each second; positions stay below 2^63."""
NO_POSITION: Final = 0


def position_of(height: int, index: int) -> int:
    """Return the position of transaction `index` of block `height`."""
    assert 1 <= height <= HEIGHT_MAX, f"height {height} has no positions"
    assert 0 <= index <= INDEX_MAX, f"index {index} in a block"
    return height << INDEX_BITS | index


def place_of(position: int) -> tuple[int, int]:
    """Return (height, index)."""
    return position >> INDEX_BITS, position & INDEX_MAX
