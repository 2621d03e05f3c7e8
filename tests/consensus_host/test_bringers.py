"""A claim about who brought a vote: it is known while the vote can still be checked, and no longer."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from consensus.effects import CheckVotes, Decide, Effect
from consensus.inputs import Input, Started, VoteReceived
from consensus.recent import HEIGHTS
from consensus.votes import Vote, VoteKind
from prsm_node.consensus_host.bringers import VOTES_MAX, Bringers
from tests.consensus_host import hosts

LINK = 7


def forged(height: int) -> Vote:
    return Vote(VoteKind.PRECOMMIT, height, 0, None, 0, 0, bytes(32), bytes(64))


class Decider:
    """A replica that decides a height at each step but of a vote, and has checked what it is told to."""

    def __init__(self) -> None:
        self.decided = 0
        self.checks: list[Vote] = []

    def step(self, happened: Input, now_ms: int) -> list[Effect]:
        checks, self.checks = self.checks, []
        if checks:
            return [CheckVotes(tuple(checks))]
        if not isinstance(happened, Started):
            return []
        self.decided += 1
        block, certificate = SimpleNamespace(height=self.decided), SimpleNamespace(round=0)
        return [Decide(cast(Any, block), cast(Any, certificate))]


@pytest.mark.parametrize(("later", "blamed"), [(HEIGHTS - 1, LINK), (HEIGHTS, 0)])
def test_the_bringer_of_a_vote_is_known_for_as_long_as_late_votes_count(later: int, blamed: int) -> None:
    replica = Decider()
    faults: list[int] = []
    outbox = SimpleNamespace(fault=lambda link, what: faults.append(link), checked=lambda link, checks: None)
    executor = SimpleNamespace(decide=lambda block, certificate: None)
    checks = SimpleNamespace(vote=lambda vote: None)
    host = hosts.host_of(replica, outbox=outbox, executor=executor, checks=checks)
    host.vote_received(LINK, forged(1))
    for _ in range(1 + later):
        host.feed(Started())
    replica.checks = [forged(1)]
    host.feed(VoteReceived(LINK, forged(2)))
    assert faults == [blamed]


def test_a_flood_of_votes_hides_only_who_brought_the_flood() -> None:
    bringers = Bringers()
    honest, liars = forged(1), [forged(height) for height in range(2, 12)]
    bringers.note(honest, LINK)
    for link, vote in enumerate(liars, start=20):
        bringers.note(vote, link)
        bringers.note(vote, LINK)
    for height in range(100, 100 + 2 * VOTES_MAX):
        bringers.note(forged(height), LINK + 1)
    assert len(bringers._links) == VOTES_MAX
    assert bringers.take(honest) == LINK
    assert [bringers.take(vote) for vote in liars] == list(range(20, 30)), "the first who brought it"
    assert bringers.take(forged(100)) == 0
    bringers.forget(10**6)
    assert not bringers._links
    assert not bringers._votes
