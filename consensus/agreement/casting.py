"""How a vote that a rule asks for is cast: with what PROTOCOL adds to it, under its guard, once a place.

rounds.py says what to vote, own_votes.py whether it may be signed. Here a prevote gets its `polka_round`
(Agreement 5), and who decides precommits (Agreement 7). A polka that a vote names is sent ahead of it.
"""

import msgspec

from consensus.agreement.forwarding import Forwarding
from consensus.agreement.height_timers import HeightTimers
from consensus.agreement.own_votes import OwnVotes
from consensus.agreement.rounds import RoundState
from consensus.agreement.votekeeper import VoteKeeper
from consensus.certificates import CheckedCertificate
from consensus.effects import CastVote, Effect
from consensus.guard import Step
from consensus.votes import NIL, VoteKind


class Casting:
    """The votes of one height on their way to the host."""

    def __init__(
        self, own: OwnVotes, keeper: VoteKeeper, forwarding: Forwarding, timers: HeightTimers
    ) -> None:
        self._own = own
        self._keeper = keeper
        self._forwarding = forwarding
        self._timers = timers

    def cast(
        self,
        kind: VoteKind,
        value: bytes | None,
        state: RoundState,
        valid_polka: CheckedCertificate | None,
    ) -> list[Effect]:
        """Vote in the current round, if it may be signed; before signing is allowed, keep it for then.

        `state` is the one that the rule left, `valid_polka` its valid value's: the vote's guard holds both,
        and what that polka rests on.
        """
        own, round_ = self._own, state.round
        if own.me is not None and not own.voting:
            own.withhold(round_, kind, value)
        if not own.may_cast(round_, kind):
            return []
        effects: list[Effect] = []
        if kind is VoteKind.PREVOTE:
            named, polka = self._named_polka(value, state)
            if polka is not None:
                effects += self._forwarding.polka(polka)
            vote = own.prevote(round_, named, polka.round if polka is not None else -1)
        else:
            vote = own.precommit(round_, value)
        guard = own.guard(state, self._keeper.with_below(valid_polka))
        return [*effects, CastVote(vote, guard), *self._timers.resend()]

    def _named_polka(
        self, value: bytes | None, state: RoundState
    ) -> tuple[bytes | None, CheckedCertificate | None]:
        """Return the value to prevote and the polka that the prevote names (Agreement 5)."""
        if value is NIL:
            return NIL, None
        polka = self._keeper.latest_polka(value, state.round)
        # Only a restart that lost the polka of our lock (the guard keeps that of the valid value) comes
        # here: the vote could then be taken for amnesia about what we precommitted before the lock. Nil is
        # always honest.
        known_round = polka.round if polka is not None else -1
        if self._own.strayed_from(value) and known_round < state.locked_round:
            return NIL, None
        return value, polka

    def locked_on_decision(
        self, round_: int, value: bytes, state: RoundState
    ) -> tuple[RoundState, CheckedCertificate | None] | None:
        """Return the state that precommits what was just decided, with the value's polka in that round, if
        it is at hand; None where that precommit is not to be given (Agreement 7).

        It still strengthens the block, and locks as line 36 does. Not of another round than ours, nor after
        our precommit. Not where we precommitted another value before without this one's polka at hand: such
        a vote is diverged and adds nothing, and after a crash before the decision is durable we could be
        unable to name the polka that moved our lock, which looks like amnesia.
        """
        if round_ != state.round or state.step is Step.PRECOMMIT:
            return None
        polka = self._keeper.polka(round_, value)
        if polka is None and self._own.strayed_from(value):
            return None
        locked = msgspec.structs.replace(state, step=Step.PRECOMMIT, locked_round=round_, locked_value=value)
        if polka is not None:
            locked = msgspec.structs.replace(locked, valid_round=round_, valid_value=value)
        return locked, polka
