"""Who validates, and who was convicted: a module of the state with a root of its own.

A block that commits evidence takes the guilty out of the set (PROTOCOL, Evidence). What block h changes is
named in header h + 2 and in force from h + 3 (Blocks 1). The root covers all that judging the evidence of
later blocks asks, so that a node which takes over a state without its history judges like all others.
"""

from collections.abc import Iterable
from functools import cached_property
from hashlib import sha256
from typing import Annotated

import msgspec

from consensus.blocks import Block
from consensus.bounds import VALIDATORS_MAX, Height, ValidatorKey
from consensus.evidence import Offence, offence
from consensus.evidence_window import EvidenceWindow
from consensus.validators import POWER_TOTAL_MAX, ValidatorSet

AHEAD = 3
"""A change is in force from so many heights above the block that makes it."""


class Member(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    key: ValidatorKey
    power: Annotated[int, msgspec.Meta(ge=1, le=POWER_TOTAL_MAX)]
    since: Height = 0
    """The height from which on it is a member without a gap; 0 for the genesis' own."""


class Term(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, dict=True):
    """A set, in force from one height until the next term begins."""

    begin: Height
    members: Annotated[tuple[Member, ...], msgspec.Meta(min_length=1, max_length=VALIDATORS_MAX)]
    """In order of key."""

    @cached_property
    def set(self) -> ValidatorSet:
        return ValidatorSet((member.key, member.power) for member in self.members)

    @cached_property
    def since(self) -> dict[bytes, int]:
        return {member.key: member.since for member in self.members}


class Conviction(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A block committed evidence against a validator."""

    offence: Offence
    block: Height
    """In which the evidence lies."""
    jailed: bool
    """Whether the guilty left the set for it; the last member can't."""


# Nobody joins a running network before there is staking, so that each term is one member shorter at least,
# and each validator is convicted once.
Terms = Annotated[tuple[Term, ...], msgspec.Meta(min_length=1, max_length=VALIDATORS_MAX)]
Convictions = Annotated[tuple[Conviction, ...], msgspec.Meta(max_length=VALIDATORS_MAX)]


class Roster(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, dict=True):
    """The sets of all heights up to three above the state's, and what later blocks may convict of."""

    terms: Terms
    """In order of height, the first from height 1 on."""
    convictions: Convictions = ()
    """In order of block."""
    window: EvidenceWindow = EvidenceWindow()

    @classmethod
    def founded(cls, validators: Iterable[tuple[bytes, int]]) -> "Roster":
        """Return the roster of a genesis, given (key, power) in order of key."""
        return cls((Term(1, tuple(Member(key, power) for key, power in validators)),))

    @cached_property
    def root(self) -> bytes:
        return sha256(b"roster" + msgspec.msgpack.encode(self)).digest()

    def conviction(self, key: bytes) -> Conviction | None:
        """Return why a validator was convicted, if it was."""
        return next((found for found in self.convictions if found.offence.guilty == key), None)

    @cached_property
    def convicted(self) -> frozenset[bytes]:
        return frozenset(conviction.offence.guilty for conviction in self.convictions)

    def term(self, height: int) -> Term:
        """Return the term in force at a height, which is at most three above the state's."""
        assert height >= 1, f"no set votes on height {height}"
        return next(term for term in reversed(self.terms) if term.begin <= height)

    def after(self, block: Block, window_ms: int) -> "Roster":
        """Return the roster after a decided block; `window_ms` is the unbonding time."""
        window = self.window.after(block.height, block.time_ms, window_ms)
        if not block.evidence:
            return self if window is self.window else msgspec.structs.replace(self, window=window)
        offences = [offence(piece) for piece in block.evidence]
        before = self.terms[-1]
        left = before.set.without(done.guilty for done in offences)
        members = tuple(member for member in before.members if member.key in left)
        terms = self.terms if left is before.set else (*self.terms, Term(block.height + AHEAD, members))
        convictions = tuple(
            Conviction(done, block.height, jailed=done.guilty not in left) for done in offences
        )
        return Roster(terms, self.convictions + convictions, window)
