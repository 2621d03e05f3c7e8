"""Asking several peers for pieces: liars, the stalled, slow and busy ones cost little; the rest share."""

from collections import Counter

import pytest
import trio
import trio.testing

from prsm_node.consensus_host.outbox import Refusal
from prsm_node.sync.sources import ANSWER_S, OPEN_MAX, Lie, Sources
from prsm_node.wire.payloads import BlocksWanted, GenesisWanted, Wanted
from tests.sync.peers import Behaviour, Peers, gives, stalls

PIECE_BYTES = 64 * 1024
GOOD, BAD = b"good" * 16_384, b"bad"


def judge(link: int, answer: bytes) -> int:
    """Say who gave it."""
    if answer != GOOD:
        raise Lie("sync.piece")
    return link


async def fetched(peers: Peers, pieces: int, sources: Sources | None = None) -> list[int | None]:
    """Return who gave each of so many pieces, all wanted at once."""
    sources = sources or Sources(peers)
    found: list[int | None] = [None] * pieces

    async def one(number: int) -> None:
        wanted = BlocksWanted(number + 1, 1)
        found[number] = await sources.get(wanted, peers.links, judge, PIECE_BYTES)

    async with trio.open_nursery() as nursery:
        for number in range(pieces):
            nursery.start_soon(one, number)
    return found


async def test_several_peers_share_the_work_and_none_has_more_questions_than_its_bound(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers({link: gives(GOOD) for link in (1, 2, 3)})
    found = Counter(await fetched(peers, 60))
    assert set(found) == {1, 2, 3}
    assert min(found.values()) >= 15
    assert set(peers.most_open.values()) == {OPEN_MAX}
    assert not peers.faults


async def test_a_peer_ten_times_as_fast_brings_most(autojump_clock: trio.testing.MockClock) -> None:
    peers = Peers({1: gives(GOOD, 0.1), 2: gives(GOOD, 0.01)})
    found = Counter(await fetched(peers, 60))
    assert found[2] > 4 * found[1]


@pytest.mark.parametrize(
    ("bad", "blame"),
    [
        (gives(BAD), {"sync.piece"}),
        (stalls, {"late_answer"}),
        (gives(Refusal.ABSENT), set()),
        (gives(Refusal.GONE), set()),
        (gives(Refusal.BUSY), set()),
        (gives(GOOD, 60.0), {"late_answer"}),
    ],
    ids=["liar", "stalled", "absent", "gone", "busy", "slow"],
)
async def test_with_one_honest_peer_among_four_bad_ones_every_piece_comes_soon(
    bad: Behaviour, blame: set[str], autojump_clock: trio.testing.MockClock
) -> None:
    peers = Peers(dict.fromkeys((1, 2, 3, 4), bad) | {5: gives(GOOD)})
    began = trio.current_time()
    assert await fetched(peers, 40) == [5] * 40
    assert trio.current_time() - began < 10.0
    assert {reason for link, reason in peers.faults if link != 5} <= blame
    assert 5 not in peers.blamed()


async def test_a_liar_is_blamed_for_each_lie_and_rests_longer_each_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers({1: gives(BAD), 2: gives(GOOD, 0.2)})
    sources = Sources(peers)
    began = trio.current_time()
    await fetched(peers, 100, sources)
    assert trio.current_time() - began > 9.0, "the honest one is slow, so there is time to lie"
    assert 3 <= peers.blamed()[1]["sync.piece"] <= 12
    assert sources.source(1).lies == peers.blamed()[1]["sync.piece"]


async def test_who_is_busy_is_asked_again_after_a_rest_and_keeps_its_place(
    autojump_clock: trio.testing.MockClock,
) -> None:
    free_at = trio.current_time() + 2.0

    async def busy_at_first(wanted: Wanted) -> bytes | Refusal:
        await trio.sleep(0.01)
        return GOOD if trio.current_time() >= free_at else Refusal.BUSY

    peers = Peers({1: busy_at_first})
    assert await fetched(peers, 10) == [1] * 10
    assert trio.current_time() - free_at < 4.0, "it is not given up"
    assert len(peers.asked) < 30, "nor asked in a loop"
    assert not peers.faults


async def test_what_nobody_has_ends_with_nothing_and_a_piece_is_asked_of_each_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers({1: gives(Refusal.ABSENT), 2: gives(BAD), 3: gives(Refusal.GONE)})
    assert await fetched(peers, 1) == [None]
    assert sorted(link for link, _ in peers.asked) == [1, 2, 3]
    assert await Sources(peers).get(GenesisWanted(), lambda: (), judge, 1) is None


async def test_a_slow_answer_is_overtaken_by_a_second_peers_and_forgotten(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers({1: gives(GOOD, ANSWER_S - 0.5), 2: gives(GOOD)})
    sources = Sources(peers)
    began = trio.current_time()
    assert await sources.get(GenesisWanted(), peers.links, judge, PIECE_BYTES) == 2
    assert trio.current_time() - began < 1.0
    assert not peers.faults
    assert peers.open[1] == 0
    rate = sources.source(1).rate
    assert rate is not None
    assert rate < PIECE_BYTES / (trio.current_time() - began) * 1.1


async def test_peers_named_besides_are_not_asked(autojump_clock: trio.testing.MockClock) -> None:
    peers = Peers({1: gives(GOOD), 2: gives(GOOD)})
    assert await Sources(peers).get(GenesisWanted(), peers.links, judge, PIECE_BYTES, besides={1}) == 2
    assert [link for link, _ in peers.asked] == [2]
