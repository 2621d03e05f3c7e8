"""Amounts as people write them, in FTNS, and as the ledger counts them, in base units of 10^-9 FTNS."""

import re
from typing import Final

from prsm_node.errors import OperatorError

DECIMALS: Final = 9
BASE_UNITS: Final = 10**DECIMALS
AMOUNT_MAX: Final = 10**9 * BASE_UNITS
"""The supply cap; the ledger's SUPPLY_CAP is the same number (a test holds them together)."""

_WRITTEN = re.compile(r"([0-9]{1,30})(?:\.([0-9]{1,9}))?", re.ASCII)


def parse_ftns(text: str) -> int:
    """Return the base units of `1.5`; raise OperatorError. No floats are involved."""
    match = _WRITTEN.fullmatch(text.strip())
    if match is None:
        raise OperatorError(f"{text[:40]!a} is no amount; write it as 1.5, with at most {DECIMALS} decimals")
    whole, fraction = match.group(1), match.group(2) or ""
    amount = int(whole) * BASE_UNITS + int(fraction.ljust(DECIMALS, "0"))
    if amount > AMOUNT_MAX:
        raise OperatorError(
            f"{text.strip()} FTNS is more than will ever exist; choose at most {AMOUNT_MAX // BASE_UNITS}"
        )
    return amount


def ftns(base_units: int) -> str:
    """Return `1.5 FTNS` for 1_500_000_000, without idle zeros."""
    sign = "-" if base_units < 0 else ""
    whole, fraction = divmod(abs(base_units), BASE_UNITS)
    decimals = f".{fraction:0{DECIMALS}}".rstrip("0") if fraction else ""
    return f"{sign}{whole:,}{decimals} FTNS"
