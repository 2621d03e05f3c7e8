"""Polkas that can't be counted yet: votes in them name earlier polkas that are not at hand (PROTOCOL,
Agreement 5).

They are held by voter, not by certificate. A faulty voter can name a polka that there never was: a
certificate with such a vote never stands, and whoever sends it must displace no other, nor have it checked
again and again. Its other votes may yet make a quorum with those of another certificate.
"""

from collections.abc import Container

from consensus.certificates import Certificate, CheckedCertificate, certificate_of, votes_of
from consensus.quorum import is_quorum
from consensus.validators import ValidatorSet
from consensus.votes import CheckedVote

PLACES_MAX = 64
"""As many as polkas that stand (votekeeper.py); the oldest goes."""
VOTER_VOTES_MAX = 2
"""At one place; an honest voter signs one there."""

Value = bytes
Place = tuple[int, Value]
"""(round, value)."""


class WaitingPolkas:
    """The votes of polkas that wait, by place."""

    def __init__(self, validators: ValidatorSet) -> None:
        self._validators = validators
        self._votes: dict[Place, dict[bytes, list[CheckedVote]]] = {}

    def places(self) -> list[Place]:
        """Return where polkas wait."""
        return list(self._votes)

    def brings_news(self, polka: Certificate) -> bool:
        """Whether a vote in it would be held for the first time: asked before signatures are checked."""
        held = self._votes.get((polka.round, polka.value), {})
        return any(_is_new(member.mark, held.get(member.voter, [])) for member in polka.votes)

    def add(self, polka: CheckedCertificate) -> None:
        """Hold a polka until what it names is at hand."""
        of_place = self._votes.setdefault((polka.round, polka.value), {})
        for vote in votes_of(polka):
            of_voter = of_place.setdefault(vote.voter, [])
            if _is_new(vote.polka_round, of_voter):
                of_voter.append(CheckedVote(vote))
        if len(self._votes) > PLACES_MAX:
            del self._votes[min(self._votes)]

    def standing(self, place: Place, polkas: Container[Place]) -> CheckedCertificate | None:
        """Return what the votes at a place make, of which each names none or one of `polkas`; None where
        that is no quorum."""
        votes: list[CheckedVote] = []
        for of_voter in self._votes.get(place, {}).values():
            votes += [vote for vote in of_voter if names_none_but(vote.polka_round, place[1], polkas)][:1]
        weight = sum(self._validators.power(vote.voter) for vote in votes)
        return certificate_of(votes) if is_quorum(weight, self._validators.total) else None

    def remove(self, place: Place) -> None:
        """A polka stands there."""
        self._votes.pop(place, None)


def names_none_but(mark: int, value: Value, polkas: Container[Place]) -> bool:
    """Whether a prevote for `value` with this `polka_round` names no polka, or one of these."""
    return mark < 0 or (mark, value) in polkas


def _is_new(mark: int, of_voter: list[CheckedVote]) -> bool:
    return len(of_voter) < VOTER_VOTES_MAX and all(vote.polka_round != mark for vote in of_voter)
