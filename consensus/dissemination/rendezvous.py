"""Which lane a sender's transactions go to: weighted rendezvous hashing (Lanes 1).

Each validator draws a number from (sender, validator), exponential with its power as rate, and the least
wins: a lane's share is its share of power, and a set change moves only the senders of those who came or went.
All in integers, so that every machine draws alike. Nobody is held to it: a transaction in another lane is as
valid.
"""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256

_TABLE_BITS = 10
_FRACTION_BITS = 32
_DRAW_BITS = 64


@cache
def _log2_table() -> tuple[int, ...]:
    """log2(1 + i / 1024) in 32-bit fixed point, by repeated squaring."""
    one = 1 << 62
    table = []
    for i in range((1 << _TABLE_BITS) + 1):
        x = one + (i << (62 - _TABLE_BITS))
        result = 0
        if x == one << 1:
            result = 1 << _FRACTION_BITS
        else:
            for _ in range(_FRACTION_BITS):
                x = x * x >> 62
                result <<= 1
                if x >= one << 1:
                    x >>= 1
                    result |= 1
        table.append(result)
    return tuple(table)


def _waiting(draw: int) -> int:
    """-log2 of a draw from (0, 2^64], as a share of 2^64, in 32-bit fixed point; at least 1."""
    table = _log2_table()
    exponent = draw.bit_length() - 1
    mantissa = (draw << _DRAW_BITS >> exponent) - (1 << _DRAW_BITS)
    place = mantissa >> (_DRAW_BITS - _TABLE_BITS)
    rest = mantissa >> (_DRAW_BITS - _TABLE_BITS - 16) & 0xFFFF
    log = (exponent << _FRACTION_BITS) + table[place] + ((table[place + 1] - table[place]) * rest >> 16)
    return max(1, (_DRAW_BITS << _FRACTION_BITS) - log)


def ranking(sender: bytes, powers: Sequence[tuple[bytes, int]]) -> tuple[bytes, ...]:
    """Return the validators' keys, the sender's lane first, then where it goes if that one fails.

    `powers` are (key, power) with power above 0. About 1 us a validator where all powers are equal, otherwise
    4: callers keep the answer.
    """
    drawn = [(-1 - int.from_bytes(sha256(sender + key).digest()[:8], "big"), key) for key, _ in powers]
    if all(power == powers[0][1] for _, power in powers):
        # The wait falls as the draw rises, so that among equals the draws alone give the same order.
        return tuple([key for _, key in sorted(drawn)])
    # Scaled so that powers up to 2^62 keep 32 bits of the quotient; draw and key settle ties.
    waits = [
        ((_waiting(-minus) << 96) // power, minus, key)
        for (minus, key), (_, power) in zip(drawn, powers, strict=True)
    ]
    return tuple([key for _, _, key in sorted(waits)])


def lane_of(sender: bytes, powers: Sequence[tuple[bytes, int]]) -> bytes:
    """Return the key of the validator whose lane takes this sender's transactions."""
    return ranking(sender, powers)[0]
