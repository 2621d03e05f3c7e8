"""What a validator must remember to sign nothing twice and forget no lock (PROTOCOL, The guard).

The host makes a guard durable before anything signed under it leaves. A restart hands the latest one back.
Forgetting the lock would make an honest validator an amnesiac, so the lock is here and not in a cache.
"""

from enum import IntEnum

import msgspec

from consensus.bounds import Digest, Height, Round, RoundOrNone
from consensus.certificates import Certificate


class Step(IntEnum):
    """Line 3, in the order in which a round passes them."""

    PROPOSE = 1
    PREVOTE = 2
    PRECOMMIT = 3


class Guard(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The furthest place (height, round, step) at which this validator signed, and its state there."""

    height: Height = 0
    round: Round = 0
    step: Step = Step.PROPOSE
    signed: tuple[bytes, ...] = ()
    """The encoded messages (votes, then a proposal) signed at this height's current round, to be sent
    again."""
    locked_round: RoundOrNone = -1
    locked_value: Digest | None = None
    valid_round: RoundOrNone = -1
    valid_value: Digest | None = None
    valid_polka: Certificate | None = None
    precommitted: tuple[Digest, ...] = ()
    """The distinct values precommitted at this height."""
    diverged: Height = 0
    """The greatest decided height at which another value was precommitted than decided."""
