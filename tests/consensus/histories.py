"""All that honest validators can do at one height, explored through the project's own rules.

The faulty vote for everything and tell whom they like, so a polka or commit of a value exists as soon as the
honest votes for it and all faulty power reach a quorum. Values are b"a" and b"b"; validators weigh 1 each.
"""

from itertools import product

import msgspec

from consensus.agreement.rounds import Facts, Offered, RoundState, Vote, line_22, line_28, line_36
from consensus.guard import Step
from consensus.quorum import is_quorum

VALUES = (b"a", b"b")


class Honest(msgspec.Struct, frozen=True, order=True):
    """One honest validator: its lock, and what it signed. (round, value, polka_round) and (round, value)."""

    locked_round: int = -1
    locked_value: bytes = b""
    prevotes: tuple[tuple[int, bytes, int], ...] = ()
    precommits: tuple[tuple[int, bytes], ...] = ()


def _state(honest: Honest, round_: int, step: Step) -> RoundState:
    value = honest.locked_value or None
    return RoundState(round_, step, honest.locked_round, value, honest.locked_round, value)


def prevotes(
    honest: Honest, round_: int, polkas: frozenset[tuple[int, bytes]]
) -> set[tuple[bytes, int] | None]:
    """What lines 22 and 28 may make it prevote, over all proposals; with the least `polka_round` it may
    name."""
    state = _state(honest, round_, Step.PROPOSE)
    options: set[tuple[bytes, int] | None] = {None}
    for value in VALUES:
        own = honest.locked_round if value == honest.locked_value else -1
        answers = [(line_22(state, Facts(proposal=Offered(value))), own)]
        for polka_round, polka_value in polkas:
            if polka_value == value:
                facts = Facts(proposal=Offered(value, polka_round), polka_round=polka_round)
                answers.append((line_28(state, facts), max(own, polka_round)))
        for fired, mark in answers:
            assert fired is not None
            vote = fired.actions[0]
            if isinstance(vote, Vote) and vote.value is not None:
                options.add((value, mark))
    return options


def locked(honest: Honest, round_: int, value: bytes) -> Honest:
    """What line 36 makes of it, when it sees the polka in time."""
    fired = line_36(_state(honest, round_, Step.PREVOTE), Facts(polka=value))
    assert fired is not None
    state = fired.state
    signed = (*honest.precommits, (round_, value))
    return Honest(state.locked_round, state.locked_value or b"", honest.prevotes, signed)


def _with_prevote(honest: Honest, round_: int, cast: tuple[bytes, int] | None) -> Honest:
    if cast is None:
        return honest
    return msgspec.structs.replace(honest, prevotes=(*honest.prevotes, (round_, *cast)))


def histories(n: int, faulty: int, rounds: int, keep_prevotes: bool) -> set[tuple[Honest, ...]]:
    """Every outcome of so many rounds, up to the names of the honest validators."""
    frontier = {((Honest(),) * (n - faulty), frozenset[tuple[int, bytes]]())}
    for round_ in range(rounds):
        reached = set()
        for all_honest, polkas in frontier:
            seen = set()
            for cast in product(*(sorted(prevotes(h, round_, polkas), key=str) for h in all_honest)):
                key = tuple(sorted(zip(all_honest, cast, strict=True), key=str))
                if key in seen:
                    continue
                seen.add(key)
                weights = {v: sum(c is not None and c[0] == v for c in cast) + faulty for v in VALUES}
                new = [v for v in VALUES if is_quorum(weights[v], n)]
                after = all_honest
                if keep_prevotes:
                    after = tuple(_with_prevote(h, round_, c) for h, c in zip(all_honest, cast, strict=True))
                for in_time in product([None, *new], repeat=len(after)):
                    moved = [locked(h, round_, v) if v else h for h, v in zip(after, in_time, strict=True)]
                    reached.add((tuple(sorted(moved)), polkas | {(round_, v) for v in new}))
        frontier = reached
    return {all_honest for all_honest, _ in frontier}
