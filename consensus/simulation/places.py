"""What a message is about, without its content: its kind and its place in the protocol.

Two runs that differ a little send messages of the same places; their digests differ as soon as a clock does.
"""

from collections.abc import Callable
from typing import Any

from consensus import inputs
from consensus.evidence import offence
from consensus.inputs import Input
from consensus.votes import VoteKind

FIRST_LETTER = 65


def number_of(key: bytes) -> int:
    """A validator's place in the set: a simulated key is one letter repeated, A for validator 0."""
    return key[0] - FIRST_LETTER


def place_of(what: Input) -> tuple[str | int, ...]:
    """The kind of a message, whose it is, and where it stands."""
    return PLACES[type(what)](what)


def _vote(what: inputs.VoteReceived) -> tuple[str | int, ...]:
    vote = what.vote
    kind = "prevote" if vote.kind is VoteKind.PREVOTE else "precommit"
    return (kind, vote.voter[0] - FIRST_LETTER, vote.height, vote.round)


def _certificate(what: inputs.CertificateReceived) -> tuple[str | int, ...]:
    kind = "polka" if what.certificate.kind is VoteKind.PREVOTE else "commit"
    return (kind, what.certificate.height, what.certificate.round)


def _evidence(what: inputs.EvidenceReceived) -> tuple[str | int, ...]:
    done = offence(what.evidence)
    return ("evidence", done.kind, number_of(done.guilty), done.height or 0, done.round or done.sequence or 0)


PLACES: dict[type[Input], Callable[[Any], tuple[str | int, ...]]] = {
    inputs.VoteReceived: _vote,
    inputs.ProposalReceived: lambda w: ("proposal", w.proposal.height, w.proposal.round),
    inputs.CertificateReceived: _certificate,
    inputs.BlockReceived: lambda w: ("block", w.block.height),
    inputs.BatchReceived: lambda w: ("batch", number_of(w.batch.author), w.batch.sequence),
    inputs.AcknowledgementReceived: lambda w: (
        "acknowledgement",
        number_of(w.acknowledgement.author),
        w.acknowledgement.sequence,
    ),
    inputs.TipCertificateReceived: lambda w: (
        "tip",
        number_of(w.certificate.author),
        w.certificate.sequence,
    ),
    inputs.EvidenceReceived: _evidence,
}
"""Every input that comes over a link."""


VALIDATOR_FOLLOWS = ("prevote", "precommit", "batch", "acknowledgement", "tip")


def without(place: tuple[str | int, ...], gone: int) -> tuple[str | int, ...] | None:
    """The same place in a cluster that lacks process `gone`, above which numbers move down; None if it is
    about that one. A draw of a process begins with a word and its number, of a message with two numbers."""
    if isinstance(place[0], str):
        at = [1]
    else:
        at = [0, 1, 3] if place[2] in VALIDATOR_FOLLOWS else [0, 1]
    moved = list(place)
    for i in at:
        number = moved[i]
        if number == gone:
            return None
        if isinstance(number, int) and number > gone:
            moved[i] = number - 1
    return tuple(moved)
