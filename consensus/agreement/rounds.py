"""The round state machine: the `upon` clauses of arXiv:1807.04938, Algorithm 1, one function each.

A rule is silent (None) until its condition holds; its answer carries the line, so that tests and
transcripts can say why a node voted. votekeeper.py counts, facts.py turns counts into `Facts`, height.py
answers into effects. Values are opaque digests. Nothing here knows weights, signatures, blocks or time.
"""

from collections.abc import Callable

import msgspec

from consensus.guard import Step
from consensus.timers import TimerKind
from consensus.votes import NIL, VoteKind

Value = bytes


class RoundState(msgspec.Struct, frozen=True):
    """Lines 1-9, and which rules marked "for the first time" have fired in this round."""

    round: int = 0
    step: Step = Step.PROPOSE
    locked_round: int = -1
    locked_value: Value | None = NIL
    valid_round: int = -1
    valid_value: Value | None = NIL
    decided: bool = False
    line_34_fired: bool = False
    line_47_fired: bool = False


class Offered(msgspec.Struct, frozen=True):
    """The proposal of the current round, as judged."""

    value: Value
    valid_round: int = -1
    valid: bool = True
    timely: bool = True


class Facts(msgspec.Struct, frozen=True):
    """What is known about the current round, and of others what lines 28, 49 and 55 ask."""

    proposal: Offered | None = None
    polka_round: int = -1
    """The proposal's valid_round, if its polka is at hand (line 28)."""
    polka_any: bool = False
    polka_nil: bool = False
    polka: Value | None = NIL
    """A valid value with a polka in the current round (line 36)."""
    precommit_any: bool = False
    commit: tuple[int, Value] | None = None
    """(round, valid value) with a quorum of precommits (line 49)."""
    later_round: int = -1
    """A later round that more than a third has reached (line 55)."""
    expired: TimerKind | None = None
    """The timer of the current round that has just run out (lines 57, 61, 65)."""
    entering: int = -1
    """The round that begins (lines 11-21)."""
    proposer: bool = False
    """Whether we propose in `entering`, or now for line 18."""
    own_value: Value | None = NIL
    """What getValue() answered (line 18)."""


class Vote(msgspec.Struct, frozen=True):
    """Broadcast a prevote or precommit of the current round."""

    kind: VoteKind
    value: Value | None


class Schedule(msgspec.Struct, frozen=True):
    """Start this timer of the current round."""

    kind: TimerKind


class Offer(msgspec.Struct, frozen=True):
    """Broadcast a proposal for the current round (line 19)."""

    value: Value
    valid_round: int


class GetValue(msgspec.Struct, frozen=True):
    """Build a block for the current round (line 18)."""


class Enter(msgspec.Struct, frozen=True):
    """Start a round (line 11): to be answered with `entering`."""

    round: int


class Commit(msgspec.Struct, frozen=True):
    """Decide (line 51)."""

    round: int
    value: Value


Action = Vote | Schedule | Offer | GetValue | Enter | Commit


class Fired(msgspec.Struct, frozen=True):
    """A rule's answer: the line, the state after it, what is to be done."""

    line: int
    state: RoundState
    actions: tuple[Action, ...] = ()


_replace = msgspec.structs.replace


def prevote(line: int, state: RoundState, value: Value | None) -> Fired:
    """Vote in the first step of a round."""
    return Fired(line, _replace(state, step=Step.PREVOTE), (Vote(VoteKind.PREVOTE, value),))


def precommit(line: int, state: RoundState, value: Value | None) -> Fired:
    """Vote in the second step of a round."""
    return Fired(line, _replace(state, step=Step.PRECOMMIT), (Vote(VoteKind.PRECOMMIT, value),))


def _entered(state: RoundState, round_: int) -> RoundState:
    assert round_ >= state.round, f"round {round_} begins after round {state.round}"
    return _replace(state, round=round_, step=Step.PROPOSE, line_34_fired=False, line_47_fired=False)


def line_14(state: RoundState, facts: Facts) -> Fired | None:
    """A round begins and we propose: our valid value, or a new one (lines 14-19). Our own timer runs too,
    since the building of a block can fail."""
    if facts.entering < 0 or not facts.proposer or state.decided:
        return None
    entered = _entered(state, facts.entering)
    wait = Schedule(TimerKind.PROPOSE)
    if state.valid_value is not NIL:
        return Fired(14, entered, (Offer(state.valid_value, state.valid_round), wait))
    return Fired(14, entered, (GetValue(), wait))


def line_18(state: RoundState, facts: Facts) -> Fired | None:
    """getValue() answered: propose it, unless this round has gone on without it."""
    if facts.own_value is NIL or not facts.proposer or state.decided or state.step is not Step.PROPOSE:
        return None
    return Fired(18, state, (Offer(facts.own_value, state.valid_round),))


def line_20(state: RoundState, facts: Facts) -> Fired | None:
    """A round begins and another proposes: wait for it (lines 20-21)."""
    if facts.entering < 0 or facts.proposer or state.decided:
        return None
    return Fired(20, _entered(state, facts.entering), (Schedule(TimerKind.PROPOSE),))


def line_22(state: RoundState, facts: Facts) -> Fired | None:
    """A new value is proposed: prevote it if it is valid and timely and our lock allows it."""
    proposal = facts.proposal
    if state.step is not Step.PROPOSE or state.decided or proposal is None or proposal.valid_round != -1:
        return None
    # Time is judged here and nowhere else (PROTOCOL, Blocks 3): a polka or a commit speaks for the clock of a
    # quorum, and a second judgement later could only keep apart what agreed already.
    accepted = proposal.valid and proposal.timely
    unlocked = state.locked_round == -1 or state.locked_value == proposal.value
    return prevote(22, state, proposal.value if accepted and unlocked else NIL)


def line_28(state: RoundState, facts: Facts) -> Fired | None:
    """A proposal with a polka of an earlier round: prevote it unless our lock is as recent."""
    proposal = facts.proposal
    if state.step is not Step.PROPOSE or state.decided or proposal is None:
        return None
    if not 0 <= proposal.valid_round < state.round or facts.polka_round != proposal.valid_round:
        return None
    # Line 29, strict here: two polkas in one round need faulty voters, and refusing the second is what
    # lets a large certificate withstand more of them (README.md, "Departures").
    unlocked = state.locked_round < proposal.valid_round
    accepted = proposal.valid and (unlocked or state.locked_value == proposal.value)
    return prevote(28, state, proposal.value if accepted else NIL)


def line_34(state: RoundState, facts: Facts) -> Fired | None:
    """A quorum has prevoted, whatever for: give the rest until timeoutPrevote. Once a round."""
    if state.step is not Step.PREVOTE or state.decided or state.line_34_fired or not facts.polka_any:
        return None
    return Fired(34, _replace(state, line_34_fired=True), (Schedule(TimerKind.PREVOTE),))


def line_36(state: RoundState, facts: Facts) -> Fired | None:
    """A polka for a valid value: lock on it and precommit it; too late for that, remember it. Once a
    round."""
    if facts.polka is NIL or state.decided or state.step is Step.PROPOSE or state.valid_round == state.round:
        return None
    seen = _replace(state, valid_round=state.round, valid_value=facts.polka)
    if state.step is not Step.PREVOTE:
        return Fired(36, seen)
    return precommit(36, _replace(seen, locked_round=state.round, locked_value=facts.polka), facts.polka)


def line_44(state: RoundState, facts: Facts) -> Fired | None:
    """A polka for nil: precommit nil."""
    if state.step is not Step.PREVOTE or state.decided or not facts.polka_nil:
        return None
    return precommit(44, state, NIL)


def line_47(state: RoundState, facts: Facts) -> Fired | None:
    """A quorum has precommitted, whatever for: give the rest until timeoutPrecommit. Once a round."""
    if state.decided or state.line_47_fired or not facts.precommit_any:
        return None
    return Fired(47, _replace(state, line_47_fired=True), (Schedule(TimerKind.PRECOMMIT),))


def line_49(state: RoundState, facts: Facts) -> Fired | None:
    """A quorum of precommits for a valid value, of whichever round: decide."""
    if state.decided or facts.commit is None:
        return None
    round_, value = facts.commit
    return Fired(49, _replace(state, decided=True), (Commit(round_, value),))


def line_55(state: RoundState, facts: Facts) -> Fired | None:
    """More than a third is in a later round, so an honest one is: follow it."""
    if state.decided or facts.later_round <= state.round:
        return None
    return Fired(55, state, (Enter(facts.later_round),))


def line_57(state: RoundState, facts: Facts) -> Fired | None:
    """timeoutPropose: prevote nil."""
    if state.step is not Step.PROPOSE or state.decided or facts.expired is not TimerKind.PROPOSE:
        return None
    return prevote(57, state, NIL)


def line_61(state: RoundState, facts: Facts) -> Fired | None:
    """timeoutPrevote: precommit nil."""
    if state.step is not Step.PREVOTE or state.decided or facts.expired is not TimerKind.PREVOTE:
        return None
    return precommit(61, state, NIL)


def line_65(state: RoundState, facts: Facts) -> Fired | None:
    """timeoutPrecommit: the next round."""
    if state.decided or facts.expired is not TimerKind.PRECOMMIT:
        return None
    return Fired(65, state, (Enter(state.round + 1),))


Rule = Callable[[RoundState, Facts], Fired | None]

ENTERING: tuple[Rule, ...] = (line_14, line_20)
"""The rules of line 11, StartRound."""

STANDING: tuple[Rule, ...] = (
    line_49,
    line_22,
    line_28,
    line_36,
    line_44,
    line_34,
    line_47,
    line_55,
    line_57,
    line_61,
    line_65,
)
"""Tried in this order, which the paper leaves open: a decision before all, a vote that the counts allow
before a timer, and everything this round still gives before it is left."""


def first_to_fire(rules: tuple[Rule, ...], state: RoundState, facts: Facts) -> Fired | None:
    """Return the answer of the first rule whose condition holds."""
    for rule in rules:
        fired = rule(state, facts)
        if fired is not None:
            return fired
    return None
