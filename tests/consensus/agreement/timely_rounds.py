"""Rounds of a timely network explored through the project's own rules: three honest validators and a faulty
fourth.

No honest message is late or lost. The faulty one proposes in its turn what it likes to whom it likes, and
its vote decides who sees the polka of a round before timeoutPrevote. It precommits nothing, so the height
stays open for as long as it can keep three honest precommits from meeting in one round. States are named
by the order of their rounds and values, so that a run that comes back to a state can go on for ever.
"""

from collections.abc import Iterator
from enum import Enum
from functools import cache
from itertools import combinations, product
from typing import NamedTuple

from consensus.agreement.rounds import Facts, Offered, RoundState, Vote, line_22, line_28, line_36, line_57
from consensus.guard import Step
from consensus.quorum import is_quorum
from consensus.timers import TimerKind

HONEST, TOTAL = 3, 4
FAULTY = 3
"""The turn in which the faulty one proposes."""
EVERYBODY = tuple(range(HONEST))

Place = tuple[int, int]
"""(round, value)."""


class Spread(Enum):
    """How a polka that one honest validator saw gets to the others."""

    NOT = 0
    WITH_PROPOSALS = 1
    """A proposal with a valid_round carries its polka, and no more is done."""
    FORWARDED = 2
    """Who fires line 36 forwards it to all before the round ends (Agreement 1)."""


class Honest(NamedTuple):
    """One validator: lock, valid value, and the polkas that it could show or count. (-1, -1) is none."""

    locked: Place = (-1, -1)
    valid: Place = (-1, -1)
    polkas: frozenset[Place] = frozenset()


class Standing(NamedTuple):
    """Between two rounds. `turn` proposes next: 0 to 2 honest, 3 the faulty one."""

    honest: tuple[Honest, ...]
    turn: int


def locked_apart(*locks: Place | None, turn: int) -> Standing:
    """Before the network was calm each came to a lock (or None) that nobody else knows the polka of."""
    honest = [Honest(lock, lock, frozenset({lock})) if lock else Honest() for lock in locks]
    return named(Standing(tuple(honest), turn))


def named(standing: Standing) -> Standing:
    """Name rounds by their order and values by their first use: only that matters to the rules."""
    places = [p for h in standing.honest for p in (h.locked, h.valid, *sorted(h.polkas))]
    rounds = {round_: index for index, round_ in enumerate(sorted({r for r, _ in places} - {-1}))} | {-1: -1}
    values = {-1: -1}
    for _, value in places:
        values.setdefault(value, len(values) - 1)

    def name(place: Place) -> Place:
        return rounds[place[0]], values[place[1]]

    renamed = (Honest(name(h.locked), name(h.valid), frozenset(map(name, h.polkas))) for h in standing.honest)
    return Standing(tuple(renamed), standing.turn)


def without_unused(standing: Standing) -> Standing:
    """Leave out polkas that no honest one's lock or valid value is of: a faulty one that cites none of them
    can do all that follows."""
    used = {place for honest in standing.honest for place in (honest.locked, honest.valid)}
    return named(Standing(tuple(h._replace(polkas=h.polkas & used) for h in standing.honest), standing.turn))


def _state(honest: Honest, round_: int, step: Step) -> RoundState:
    (locked_round, locked), (valid_round, valid) = honest.locked, honest.valid
    return RoundState(round_, step, locked_round, _digest(locked), valid_round, _digest(valid))


def _digest(value: int) -> bytes | None:
    return bytes([value]) if value >= 0 else None


@cache
def _prevote(honest: Honest, round_: int, proposed: Place | None) -> int:
    """What lines 22, 28 or, where both are silent, 57 make it prevote; -1 is nil."""
    state, proposal, polka_round = _state(honest, round_, Step.PROPOSE), None, -1
    if proposed is not None:
        proposal = Offered(bytes([proposed[1]]), proposed[0])
        polka_round = proposed[0] if proposed in honest.polkas else -1
    facts = Facts(proposal=proposal, polka_round=polka_round, expired=TimerKind.PROPOSE)
    fired = line_22(state, facts) or line_28(state, facts) or line_57(state, facts)
    assert fired is not None
    vote = fired.actions[0]
    assert isinstance(vote, Vote)
    return -1 if vote.value is None else vote.value[0]


def _after_polka(honest: Honest, polka: Place, in_time: bool) -> Honest:
    """What line 36 makes of it, before its own precommit or after."""
    state = _state(honest, polka[0], Step.PREVOTE if in_time else Step.PRECOMMIT)
    fired = line_36(state, Facts(polka=bytes([polka[1]])))
    assert fired is not None
    locked = polka if fired.state.locked_round == polka[0] else honest.locked
    return Honest(locked, polka, honest.polkas | {polka})


def _proposals(standing: Standing, new: int) -> Iterator[tuple[Place | None, ...]]:
    """What each honest one may be proposed in this turn: (valid_round, value)."""
    if standing.turn != FAULTY:
        valid = standing.honest[standing.turn].valid
        yield (valid if valid[0] >= 0 else (-1, new),) * HONEST
        return
    polkas = {polka for honest in standing.honest for polka in honest.polkas}
    locks = {(-1, honest.locked[1]) for honest in standing.honest if honest.locked[0] >= 0}
    yield from product([None, (-1, new), (-1, new + 1), *sorted(polkas | locks)], repeat=HONEST)


def after_a_round(standing: Standing, spread: Spread) -> set[Standing]:
    """Every state that a round without a decision can leave behind."""
    places = [p for honest in standing.honest for p in (honest.locked, honest.valid, *honest.polkas)]
    round_, new = max(r for r, _ in places) + 1, max(v for _, v in places) + 1
    reached: set[tuple[Honest, ...]] = set()
    for proposed in _proposals(standing, new):
        before = list(standing.honest)
        if spread is not Spread.NOT:
            for i, proposal in enumerate(proposed):
                if proposal is not None and proposal[0] >= 0:
                    before[i] = before[i]._replace(polkas=before[i].polkas | {proposal})
        votes = [_prevote(before[i], round_, proposed[i]) for i in EVERYBODY]
        reached.update(_after_votes(before, proposed, votes, round_, spread))
    turn = (standing.turn + 1) % TOTAL
    return {named(Standing(honest, turn)) for honest in reached}


def _after_votes(
    before: list[Honest], proposed: tuple[Place | None, ...], votes: list[int], round_: int, spread: Spread
) -> Iterator[tuple[Honest, ...]]:
    """With the faulty one's prevote, which goes to whom it likes, two honest ones make a polka."""
    certified = [v for v in set(votes) - {-1} if is_quorum(votes.count(v) + 1, TOTAL)]
    if not certified:
        yield tuple(before)
        return
    (value,) = certified
    without_it = is_quorum(votes.count(value), TOTAL)
    sizes = (HONEST,) if without_it else range(HONEST + 1)
    for in_time in (seen for size in sizes for seen in combinations(EVERYBODY, size)):
        # Line 36 needs the value itself, which a forwarded polka brings and a late one does not wait for.
        holds = [proposal is not None and proposal[1] == value for proposal in proposed]
        locking = [i for i in in_time if holds[i]]
        if len(locking) == HONEST:
            continue  # three precommits: all decide
        after = list(before)
        for i in EVERYBODY if spread is Spread.FORWARDED and in_time else in_time:
            if holds[i] or spread is Spread.FORWARDED:
                after[i] = _after_polka(before[i], (round_, value), i in locking)
            else:
                after[i] = before[i]._replace(polkas=before[i].polkas | {(round_, value)})
        yield tuple(after)
