"""The weighted validator set of a height, and who proposes in a round.

A set is ordered by key, so that all nodes encode and hash it alike. How it changes is the ledger's business.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from hashlib import sha256
from math import gcd
from typing import Annotated

import msgspec

from consensus.bounds import VALIDATORS_MAX, ValidatorKey

# Weights and three times their sum stay far from 64 bits in whatever reads them.
POWER_TOTAL_MAX = 2**60
# A rotation longer than this is rounded to it. A validator with less than 1/1024 of the power still gets
# one turn in each rotation, so at most 1,024 + 256 turns pass between two of its own.
ROTATION_MAX = 1_024

Members = Annotated[
    tuple[tuple[ValidatorKey, Annotated[int, msgspec.Meta(ge=1, le=POWER_TOTAL_MAX)]], ...],
    msgspec.Meta(min_length=1, max_length=VALIDATORS_MAX),
]
"""A set as (key, power), the form in which it is shown; `ValidatorSet.of` checks the rest."""


class Validator(msgspec.Struct, frozen=True, array_like=True):
    key: bytes
    power: int


class ValidatorSet:
    """Who may vote at a height, and with what power. Immutable; equal sets have equal hashes."""

    def __init__(self, members: Iterable[Validator | tuple[bytes, int]]) -> None:
        """Raise ValueError for an empty or oversized set, a key twice, or a power that is not positive."""
        validators = sorted(
            (m if isinstance(m, Validator) else Validator(*m) for m in members), key=lambda v: v.key
        )
        if not 1 <= len(validators) <= VALIDATORS_MAX:
            raise ValueError(f"a validator set has 1 to {VALIDATORS_MAX} members, not {len(validators)}")
        for validator in validators:
            if len(validator.key) != 32:
                raise ValueError(f"a validator's key has 32 bytes, not {len(validator.key)}")
            if validator.power < 1:
                raise ValueError(
                    f"validator {validator.key.hex()[:8]} has power {validator.power}; it must be positive"
                )
        self._powers = {v.key: v.power for v in validators}
        if len(self._powers) != len(validators):
            raise ValueError("a validator's key stands twice in the set")
        self.total = sum(self._powers.values())
        if self.total > POWER_TOTAL_MAX:
            raise ValueError(f"powers add up to {self.total}; at most {POWER_TOTAL_MAX} is allowed")
        self._validators = tuple(validators)

    @classmethod
    def of(cls, pairs: Iterable[tuple[bytes, int]]) -> "ValidatorSet":
        """Take back what `pairs` gave. Raise ValueError as the constructor does."""
        return cls(pairs)

    def pairs(self) -> tuple[tuple[bytes, int], ...]:
        """Return (key, power) in order of key: the encodable form."""
        return tuple(self._powers.items())

    def without(self, convicted: Iterable[bytes]) -> "ValidatorSet":
        """Return the set that is left when these are removed, in this order; its last member stays."""
        left = dict(self._powers)
        for key in convicted:
            if key in left and len(left) > 1:
                del left[key]
        return self if len(left) == len(self._powers) else ValidatorSet(left.items())

    @property
    def powers(self) -> dict[bytes, int]:
        """Key -> power. Not to be changed."""
        return self._powers

    def power(self, key: bytes) -> int:
        """Return the validator's power, 0 for who is not one."""
        return self._powers.get(key, 0)

    def index(self, key: bytes) -> int:
        """Return the validator's place in order of key. Raise KeyError for who is not one."""
        return self._indexes[key]

    def __contains__(self, key: bytes) -> bool:
        return key in self._powers

    def __len__(self) -> int:
        return len(self._validators)

    def __iter__(self) -> Iterator[Validator]:
        return iter(self._validators)

    def __getitem__(self, index: int) -> Validator:
        return self._validators[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ValidatorSet) and self._validators == other._validators

    def __hash__(self) -> int:
        return hash(self._validators)

    def __repr__(self) -> str:
        return f"ValidatorSet({', '.join(f'{v.key.hex()[:8]}:{v.power}' for v in self._validators)})"

    @cached_property
    def hash(self) -> bytes:
        """What headers call this set (`next_validators`)."""
        return sha256(b"validators" + msgspec.msgpack.encode(self.pairs())).digest()

    @cached_property
    def _indexes(self) -> dict[bytes, int]:
        return {v.key: i for i, v in enumerate(self._validators)}

    def proposer(self, height: int, round_: int) -> bytes:
        """Return who proposes. A turn depends on height + round alone, so that no history is needed.

        A round's failure hands the height to the one who would begin the next height, and equal validators
        all come once in len(self) successive heights or rounds.
        """
        return self._rotation[(height + round_) % len(self._rotation)]

    @cached_property
    def _rotation(self) -> tuple[bytes, ...]:
        """Each validator's turns spread evenly over one circle: its k-th of w at (2k + 1) / 2w, ties by key.

        A validator with the share s of the power has the share s of the turns, and they never bunch: between
        two of them lies about 1/s. Smooth weighted round robin gives as smooth an order but needs a pass over
        all validators for each turn.
        """
        divisor = gcd(*self._powers.values())
        turns = {key: power // divisor for key, power in self._powers.items()}
        if sum(turns.values()) > ROTATION_MAX:
            turns = {key: max(1, power * ROTATION_MAX // self.total) for key, power in self._powers.items()}
        scale = 2 * ROTATION_MAX * 2**32
        spread = [((2 * k + 1) * scale // w, key) for key, w in turns.items() for k in range(w)]
        return tuple(key for _, key in sorted(spread))
