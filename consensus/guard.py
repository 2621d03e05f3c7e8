"""What a validator must remember to sign nothing twice and forget no lock (PROTOCOL, The guard).

The host makes a guard durable before anything signed under it leaves. A restart hands the latest one back.
Forgetting the lock would make an honest validator an amnesiac, so the lock is here and not in a cache.
"""

from enum import IntEnum
from typing import TypeVar

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
    """The encoded messages signed at this height's current round, in order, after the precommit of the round
    before: to be sent again."""
    locked_round: RoundOrNone = -1
    locked_value: Digest | None = None
    valid_round: RoundOrNone = -1
    valid_value: Digest | None = None
    valid_polka: Certificate | None = None
    precommitted: tuple[Digest, ...] = ()
    """The distinct values precommitted at this height."""
    diverged: Height = 0
    """The greatest decided height at which another value was precommitted than decided."""
    rests_on: tuple[Certificate, ...] = ()
    """The polkas that the votes of `valid_polka` name, and theirs, lowest round first. Without them nobody
    else can count it (Agreement 5), and who is locked on its value would stay so for ever, alone."""


Message = TypeVar("Message")


def still_signed(before: Guard, now: Guard, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return those signed under `before` that are sent again under `now`, which follows it.

    The precommit with which a round was left stays: whoever lacks just that one waits in that round for ever,
    and a restart keeps nothing else to send it from.
    """
    if before.height != now.height:
        return ()
    if before.round == now.round:
        return messages
    return messages[-1:] if before.step is Step.PRECOMMIT else ()
