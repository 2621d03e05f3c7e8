"""Bech32m: bytes as text that a person can copy.

https://github.com/bitcoin/bips/blob/master/bip-0350.mediawiki
A checksum over prefix and data finds any error of up to four characters in a text of at most 90.
"""

from prsm_node.errors import OperatorError

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
VALUE_OF = {character: value for value, character in enumerate(ALPHABET)}
GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
BECH32M_CONSTANT = 0x2BC830A3
CHECKSUM_CHARACTERS = 6
TEXT_CHARACTERS_MAX = 90


class MalformedText(OperatorError):
    """A text that is no bech32m of the wanted prefix and length; the message says what is wrong with it."""


def encode(prefix: str, content: bytes) -> str:
    """Return `prefix`, the separator 1, `content` in groups of five bits, and six characters of checksum."""
    values = _five_bit_groups(content)
    state = _polymod(_expanded(prefix) + values + [0] * CHECKSUM_CHARACTERS) ^ BECH32M_CONSTANT
    checksum = [(state >> 5 * (CHECKSUM_CHARACTERS - 1 - i)) & 31 for i in range(CHECKSUM_CHARACTERS)]
    text = prefix + "1" + "".join(ALPHABET[value] for value in values + checksum)
    assert len(text) <= TEXT_CHARACTERS_MAX, f"{len(text)} characters: the checksum is proven up to 90"
    return text


def decode(prefix: str, text: str, content_bytes: int, noun: str) -> bytes:
    """Return what `text` holds, in lower or upper case throughout; raise MalformedText about `noun`."""
    if text not in (text.lower(), text.upper()):
        raise MalformedText(f"{noun} {_shown(text)} mixes upper and lower case; copy it again")
    lowered = text.lower()
    found_prefix, separator, data = lowered.rpartition("1")
    if not separator or found_prefix != prefix:
        raise MalformedText(f"{noun} {_shown(text)} does not begin with {prefix}1; copy it again")
    length = CHECKSUM_CHARACTERS + (content_bytes * 8 + 4) // 5
    if len(data) != length:
        whole = len(prefix) + 1 + length
        raise MalformedText(
            f"{noun} {_shown(text)} has {len(text)} characters and should have {whole}; copy it again"
        )
    strange = next((character for character in data if character not in VALUE_OF), None)
    if strange is not None:
        raise MalformedText(f"{noun} {_shown(text)} contains {strange!r}, which none does; copy it again")
    values = [VALUE_OF[character] for character in data]
    if _polymod(_expanded(prefix) + values) != BECH32M_CONSTANT:
        raise MalformedText(
            f"{noun} {_shown(text)} does not fit its checksum, so it was mistyped; copy it again"
        )
    return _bytes_of(values[:-CHECKSUM_CHARACTERS], noun)


def _shown(text: str) -> str:
    return ascii(text) if len(text) <= TEXT_CHARACTERS_MAX else ascii(text[:40]) + "..."


def _expanded(prefix: str) -> list[int]:
    codes = prefix.encode("ascii")
    return [code >> 5 for code in codes] + [0] + [code & 31 for code in codes]


def _polymod(values: list[int]) -> int:
    """Return the remainder of the BCH code over GF(32) that both BIP-173 and BIP-350 use."""
    state = 1
    for value in values:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for i, coefficient in enumerate(GENERATOR):
            if top >> i & 1:
                state ^= coefficient
    return state


def _five_bit_groups(content: bytes) -> list[int]:
    groups = (len(content) * 8 + 4) // 5
    number = int.from_bytes(content, "big") << groups * 5 - len(content) * 8
    return [number >> 5 * (groups - 1 - i) & 31 for i in range(groups)]


def _bytes_of(values: list[int], noun: str) -> bytes:
    number = 0
    for value in values:
        number = number << 5 | value
    padding = len(values) * 5 % 8
    if number & (1 << padding) - 1:
        raise MalformedText(f"{noun} ends in bits that should be zero; copy it again")
    return (number >> padding).to_bytes(len(values) * 5 // 8, "big")
