"""What this validator signs at one height, and the guard that it signs under (PROTOCOL, The guard).

The hardest promise of agreement is kept here: no two votes for one (round, step), whatever the restarts. A
place is taken before what is signed there is handed out, and comes back with the durable guard. rounds.py
says what to vote; the marks that PROTOCOL adds to a precommit are made here.
"""

import msgspec

from consensus.agreement.rounds import RoundState
from consensus.bounds import ROUND_MAX
from consensus.certificates import CheckedCertificate
from consensus.guard import Guard, Step
from consensus.votes import NIL, Vote, VoteKind

STEP_OF = {VoteKind.PREVOTE: Step.PREVOTE, VoteKind.PRECOMMIT: Step.PRECOMMIT}


def diverged_after(guard: Guard, height: int, decided: bytes) -> int:
    """Return `diverged` for heights above `height`, given what this guard precommitted there (Agreement 6).

    `OwnVotes.closing_guard` applies it. After a restart the durable guard may be of a height decided since:
    then apply it with the value decided at the guard's height before the guard opens a later one.
    """
    strayed = guard.height == height and any(value != decided for value in guard.precommitted)
    return height if strayed else guard.diverged


class OwnVotes:
    """The places of one height at which something was signed, and what was precommitted there.

    Args:
        me: our validator key, if it is in the height's set; None signs nothing.
        guard: the latest durable one. Of this height, it restores place and precommits; of an earlier one
            only `diverged` is taken (see diverged_after); under one of a later height nothing is signed.
        voting: whether signing is allowed yet (PROTOCOL, Twin).
    """

    def __init__(self, height: int, me: bytes | None, guard: Guard, voting: bool) -> None:
        self.height = height
        self.me = me
        self.voting = voting
        self._place: tuple[int, Step] = (-1, Step.PROPOSE)
        self._precommitted: tuple[bytes, ...] = ()
        self._diverged = guard.diverged
        self._withheld: list[tuple[int, VoteKind, bytes | None]] = []
        self._guard_ahead = guard if guard.height > height else None
        if guard.height == height:
            self._place = (guard.round, guard.step)
            self._precommitted = guard.precommitted
        elif guard.height > height:
            # The chain on disk is older than the guard: what was signed here is forgotten, so nothing may be.
            self._place = (ROUND_MAX + 1, Step.PRECOMMIT)

    def has_signed(self) -> bool:
        """Whether anything was signed at this height, by this or an earlier run."""
        return self._place[0] >= 0

    def strayed_from(self, value: bytes) -> bool:
        """Whether another value than this was precommitted at this height."""
        return any(other != value for other in self._precommitted)

    def may_propose(self, round_: int) -> bool:
        """Whether a proposal of this round may be signed."""
        return self.voting and self._place < (round_, Step.PROPOSE)

    def propose(self, round_: int) -> None:
        """Take the place of a proposal: a second one of the round may not be signed."""
        assert self.may_propose(round_), f"a proposal of round {round_} at place {self._place}"
        self._place = (round_, Step.PROPOSE)

    def may_cast(self, round_: int, kind: VoteKind) -> bool:
        """Whether a vote of this round and kind may be signed."""
        return self.me is not None and self.voting and self._place < (round_, STEP_OF[kind])

    def prevote(self, round_: int, value: bytes | None, polka_round: int) -> Vote:
        """Take the place of a prevote, and return it. `polka_round` is Agreement 5's."""
        return self._vote(VoteKind.PREVOTE, round_, value, polka_round, 0)

    def precommit(self, round_: int, value: bytes | None) -> Vote:
        """Take the place of a precommit, and return it with `diverged` (Agreement 6)."""
        if value is NIL:
            return self._vote(VoteKind.PRECOMMIT, round_, NIL, -1, 0)
        diverged = self.height if self.strayed_from(value) else self._diverged
        if value not in self._precommitted:
            self._precommitted = (*self._precommitted, value)
        return self._vote(VoteKind.PRECOMMIT, round_, value, -1, diverged)

    def _vote(
        self, kind: VoteKind, round_: int, value: bytes | None, polka_round: int, diverged: int
    ) -> Vote:
        assert self.me is not None, "a follower votes"
        assert self.may_cast(round_, kind), f"a {kind.name} of round {round_} at place {self._place}"
        self._place = (round_, STEP_OF[kind])
        return Vote(kind, self.height, round_, value, polka_round, diverged, self.me)

    def withhold(self, round_: int, kind: VoteKind, value: bytes | None) -> None:
        """Keep what the rules ask for while signing is not allowed; of the current round alone."""
        self._withheld = [held for held in self._withheld if held[0] == round_]
        self._withheld.append((round_, kind, value))

    def allow(self) -> list[tuple[int, VoteKind, bytes | None]]:
        """Sign from now on; return the (round, kind, value) that were withheld."""
        self.voting = True
        withheld, self._withheld = self._withheld, []
        return withheld

    def guard(self, state: RoundState, polkas: tuple[CheckedCertificate, ...]) -> Guard:
        """Return the guard at the place taken last; `signed` is for the host to fill.

        `polkas`: what the valid value's polka rests on, lowest round first, and that polka last; none without
        a valid value.
        """
        round_, step = self._place
        if round_ < 0:
            return Guard(height=self.height - 1, diverged=self._diverged)
        return Guard(
            height=self.height,
            round=round_,
            step=step,
            locked_round=state.locked_round,
            locked_value=state.locked_value,
            valid_round=state.valid_round,
            valid_value=state.valid_value,
            valid_polka=polkas[-1] if polkas else None,
            precommitted=self._precommitted,
            diverged=self._diverged,
            rests_on=polkas[:-1],
        )

    def closing_guard(
        self, state: RoundState, polkas: tuple[CheckedCertificate, ...], decided: bytes
    ) -> Guard:
        """Return the guard to open the next height with: it carries `diverged` and what it was signed at."""
        if self._guard_ahead is not None:
            return self._guard_ahead
        guard = self.guard(state, polkas)
        return msgspec.structs.replace(guard, diverged=diverged_after(guard, self.height, decided))
