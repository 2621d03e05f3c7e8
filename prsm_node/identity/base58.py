"""Base58 as Bitcoin and libp2p write it: no 0, O, I or l; each leading zero byte is a leading 1."""

from typing import Final

ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUE_OF: Final = {character: value for value, character in enumerate(ALPHABET)}
TEXT_CHARACTERS_MAX: Final = 4_096  # the work grows with the square of the length: 2 ms here


def encode(content: bytes) -> str:
    number = int.from_bytes(content, "big")
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(ALPHABET[digit])
    zeros = len(content) - len(content.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(digits))


def decode(text: str) -> bytes:
    """Raise ValueError for a character that is not in the alphabet or a text beyond TEXT_CHARACTERS_MAX."""
    if len(text) > TEXT_CHARACTERS_MAX:
        raise ValueError(f"{len(text)} characters; at most {TEXT_CHARACTERS_MAX} are read")
    number = 0
    for character in text:
        value = _VALUE_OF.get(character)
        if value is None:
            raise ValueError(f"contains {character!a}, which base58 lacks")
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
