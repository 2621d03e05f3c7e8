"""A proposer without a link is waited for briefly; who is linked again is sent what was missed."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from consensus.effects import Effect, SetTimer
from consensus.guard import Guard
from consensus.inputs import Input, Started
from consensus.timers import Timer, TimerKind
from consensus.validators import ValidatorSet
from prsm_node.consensus_host.host import UNLINKED_MS
from prsm_node.wire.kinds import Kind
from tests.consensus_host.hosts import host_of, left

SET = ValidatorSet.of([(bytes((i,)) * 32, 1) for i in range(4)])
ORDINARY_MS = 500


class Waiting:
    """A replica that waits for the proposer of one round."""

    def __init__(self, timer: Timer) -> None:
        self.me = None
        self.height = SimpleNamespace(height=3, validators=SET)
        self._timer = timer

    def step(self, happened: Input, now_ms: int) -> list[Effect]:
        return [SetTimer(self._timer, ORDINARY_MS)]


class Links:
    """Outbox with links to these validators."""

    def __init__(self, linked: set[bytes]) -> None:
        self.sent: list[tuple[int, Kind, bytes]] = []
        self._linked = linked

    def link_of(self, validator: bytes) -> int | None:
        return 1 if validator in self._linked else None

    def send(self, link: int, kind: Kind, message: bytes) -> bool:
        self.sent.append((link, kind, message))
        return True


def waits_ms(timer: Timer, linked: set[bytes]) -> int:
    host = host_of(Waiting(timer), outbox=Links(linked))
    asked: list[int] = []
    host.timers = cast(Any, SimpleNamespace(set=lambda timer, delay_ms: asked.append(delay_ms)))
    host.feed(Started())
    (delay_ms,) = asked
    return delay_ms


@pytest.mark.parametrize(
    ("timer", "linked", "expected"),
    [
        (Timer(TimerKind.PROPOSE, 3, 0), False, UNLINKED_MS),
        (Timer(TimerKind.PROPOSE, 3, 0), True, ORDINARY_MS),
        (Timer(TimerKind.PREVOTE, 3, 0), False, ORDINARY_MS),
        (Timer(TimerKind.PROPOSE, 2, 0), False, ORDINARY_MS),
        (Timer(TimerKind.PROPOSE, 3, 4), False, ORDINARY_MS),
    ],
    ids=["unlinked", "linked", "votes are waited for", "an old height", "rounds beyond the set's size"],
)
def test_how_long_a_proposal_is_waited_for(timer: Timer, linked: bool, expected: int) -> None:
    proposer = SET.proposer(3, timer.round)
    others = {key for key in SET.powers if key != proposer}
    assert waits_ms(timer, others | {proposer} if linked else others) == expected


def test_who_is_linked_again_is_sent_what_was_signed_at_this_height() -> None:
    links = Links(set())
    signed = (bytes((Kind.PROPOSAL,)) + b"proposal", bytes((Kind.VOTE,)) + b"prevote")
    guard = Guard(height=3, signed=signed)
    host_of(Waiting(Timer(TimerKind.LANE)), outbox=links, recovered=left(guard)).casting.link_up(7)
    assert links.sent == [(7, Kind.PROPOSAL, b"proposal"), (7, Kind.VOTE, b"prevote")]
