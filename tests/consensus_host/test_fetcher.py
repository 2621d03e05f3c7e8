"""Fetching: validators first, a slow peer is hedged, the first good answer wins, the loser is not blamed."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from prsm_node.consensus_host.fetcher import ANSWER_S, ASKED_AT_ONCE, FETCHES_MAX, HEDGE_S, Fetcher
from prsm_node.wire.frames import encode_message
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import Batch, Wanted
from tests.wire.samples import SAMPLES

WANTED: Batch = SAMPLES[Kind.BATCH][0]
DIGEST, AUTHOR = bytes(32), b"A" * 32
GOOD, GARBAGE = encode_message(WANTED), b"\xc1"
ELSE = encode_message(Batch(WANTED.header, b"\x90"))
MUTE_S = 1e6
CHECK_S = 0.05


class Peers:
    """Links that answer after their delay; None is no answer."""

    def __init__(
        self, answers: dict[int, tuple[float, bytes | None]], author_link: int | None = None
    ) -> None:
        self._answers = answers
        self._author_link = author_link
        self.asked: list[tuple[float, int]] = []
        self.open = self.open_max = 0
        self.faults: list[int] = []
        self._began = trio.current_time()

    def broadcast(self, kind: Kind, message: bytes) -> None: ...

    def send(self, link: int, kind: Kind, message: bytes) -> bool:
        return True

    def link_of(self, validator: bytes) -> int | None:
        return self._author_link

    def validator_of(self, link: int) -> bytes | None:
        return None

    def links(self) -> list[int]:
        return list(self._answers)

    async def ask(self, link: int, wanted: Wanted, deadline_s: float) -> bytes | None:
        self.asked.append((round(trio.current_time() - self._began, 3), link))
        self.open += 1
        self.open_max = max(self.open_max, self.open)
        delay, answer = self._answers[link]
        try:
            with trio.move_on_after(deadline_s):
                await trio.sleep(delay)
                return answer
        finally:
            self.open -= 1
        return None

    def checked(self, link: int, signatures: int) -> None:
        """Nothing is charged here."""

    def fault(self, link: int, reason: str) -> None:
        self.faults.append(link)


class Fetching:
    """A fetcher among peers, and what reached its owner."""

    def __init__(self, peers: Peers, validators: set[int]) -> None:
        self.came: list[int] = []
        self.checks_cut = 0
        self.fetcher = Fetcher(
            peers,
            self._batch,
            lambda link, certificate: False,
            lambda link, value, answer: False,
            validators.__contains__,
        )

    async def _batch(self, link: int, digest: bytes, batch: Batch) -> bool:
        try:
            await trio.sleep(CHECK_S)
        except trio.Cancelled:
            self.checks_cut += 1
            raise
        if batch != WANTED:
            return False
        self.came.append(link)
        return True


@asynccontextmanager
async def fetching(peers: Peers, validators: set[int]) -> AsyncIterator[Fetching]:
    made = Fetching(peers, validators)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.fetcher.run)
        yield made
        nursery.cancel_scope.cancel()


async def test_validators_are_asked_before_who_told_of_it_and_one_good_answer_is_enough(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers({1: (0.01, GOOD), 2: (0.01, GOOD), 3: (0.01, GOOD)}, author_link=3)
    async with fetching(peers, {2, 3}) as made:
        made.fetcher.batch(AUTHOR, DIGEST, 1)
        await trio.sleep(10)
    assert peers.asked == [(0.0, 3)]
    assert made.came == [3]


async def test_a_mute_peer_costs_the_hedge_and_not_its_deadline_and_is_not_blamed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers({1: (MUTE_S, GOOD), 2: (0.01, GOOD), 3: (0.01, GOOD)})
    async with fetching(peers, {1, 2, 3}) as made:
        made.fetcher.batch(AUTHOR, DIGEST, 1)
        await trio.sleep(HEDGE_S + 0.01 + CHECK_S + 0.001)
        assert made.came == [2]
        assert peers.open == 0, "the loser is not waited for"
        await trio.sleep(10)
    assert peers.asked == [(0.0, 1), (HEDGE_S, 2)]
    assert peers.faults == []


async def test_who_has_nothing_or_lies_is_followed_by_the_next_at_once_and_liars_are_blamed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers({1: (0.01, None), 2: (0.01, GARBAGE), 3: (0.01, ELSE), 4: (0.01, GOOD)})
    async with fetching(peers, set()) as made:
        made.fetcher.batch(AUTHOR, DIGEST, 1)
        await trio.sleep(0.04 + 2 * CHECK_S + 0.001)
        assert made.came == [4]
    assert peers.faults == [2, 3]


async def test_two_good_answers_at_once_are_checked_once(autojump_clock: trio.testing.MockClock) -> None:
    peers = Peers({1: (HEDGE_S + 0.01, GOOD), 2: (0.01, GOOD)})
    async with fetching(peers, set()) as made:
        made.fetcher.batch(AUTHOR, DIGEST, 1)
        await trio.sleep(5)
    assert len(made.came) == 1
    assert made.checks_cut == 0
    assert peers.faults == []


async def test_whatever_peers_do_few_are_asked_at_once_and_an_honest_one_is_found(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for seed in range(50):
        draw = random.Random(seed)
        answers = {
            link: (draw.choice([0.0, 0.1, HEDGE_S, 0.5, MUTE_S]), draw.choice([GARBAGE, ELSE, None, GOOD]))
            for link in range(1, 8)
        }
        answers[draw.randrange(1, 8)] = (draw.uniform(0.0, 0.9), GOOD)
        liars = {link for link, (_, answer) in answers.items() if answer in (GARBAGE, ELSE)}
        peers = Peers(answers)
        async with fetching(peers, set(draw.sample(range(1, 8), 4))) as made:
            made.fetcher.batch(AUTHOR, DIGEST, draw.randrange(1, 8))
            await trio.sleep(7 * (ANSWER_S + CHECK_S))
        assert len(made.came) == 1, f"seed {seed}"
        assert peers.open_max <= ASKED_AT_ONCE, f"seed {seed}"
        assert set(peers.faults) <= liars, f"seed {seed}"
        assert made.checks_cut == 0, f"seed {seed}"
        assert len({link for _, link in peers.asked}) == len(peers.asked), f"seed {seed}: asked twice"


async def test_things_under_way_are_bounded_and_nobody_gives_is_wanted_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers({1: (MUTE_S, GOOD), 2: (MUTE_S, GOOD), 3: (MUTE_S, GOOD)})
    async with fetching(peers, set()) as made:
        for thing in range(FETCHES_MAX + 50):
            made.fetcher.batch(AUTHOR, thing.to_bytes(32, "big"), 1)
            made.fetcher.batch(AUTHOR, thing.to_bytes(32, "big"), 1)
        await trio.sleep(0.9)
        assert peers.open == peers.open_max == FETCHES_MAX * ASKED_AT_ONCE
        await trio.sleep(10)
        assert len(peers.asked) == FETCHES_MAX * 3
        made.fetcher.batch(AUTHOR, DIGEST, 1)
        await trio.sleep(0.1)
        assert len(peers.asked) == FETCHES_MAX * 3 + 1
