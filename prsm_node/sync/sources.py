"""Asking several peers at once for the pieces of one thing: who is asked for what, and what each is worth.

Every piece is somebody's: `get` asks one peer, gives the piece to a second one where the first is slower than
it should be, and to the next where it lacks it, is late, is gone or lies. How much a peer is asked at once is
bounded, its speed is measured, and who is busy or late rests for a while that doubles. So a liar costs one
answer and its judging, a stalled peer the patience of one question, and nobody holds up the rest.
"""

from collections.abc import Callable, Collection
from typing import Generic, Protocol, TypeVar

import msgspec
import trio

from prsm_node.consensus_host.outbox import Refusal
from prsm_node.wire.payloads import Wanted

T = TypeVar("T")

# Of one peer: one on its way and one being made ready there keep a link full.
OPEN_MAX = 2
# A piece that one peer is slow with is given to a second one, never to a third.
ASKED_AT_ONCE = 2
# The slowest peer worth waiting for: half of a 10 Mbit/s line. Who is slower is late, and others are asked.
RATE_MIN = 512 * 1024
ANSWER_S = 4.0
# What a peer is taken for before its first answer: its measured rate counts from then on.
RATE_FIRST = 8 * 1024 * 1024
# A second peer is asked after so many times the time that the piece should take, and this besides.
PATIENCE = 3.0
PATIENCE_S = 0.3
RATE_WEIGHT = 0.3
"""Of the last answer in the measured rate."""
REST_S = 0.5
REST_MAX_S = 30.0
# Who is late so often in a row is taken for one that has nothing to give.
STUMBLES = 3
# More than links may be up; records of links that ended go first.
PEERS_MAX = 512


class Peers(Protocol):
    """What is needed of a network; node.py hands one in."""

    def links(self) -> list[int]:
        """Return the numbers of all links."""

    async def request(self, link: int, wanted: Wanted, deadline_s: float) -> bytes | Refusal:
        """Return the answer's body, or why there is none."""

    def fault(self, link: int, reason: str) -> None:
        """Score a peer down, and count why."""


class Lie(Exception):
    """What a peer sent is not what it claims; `reason` names the fault that the peer is scored for."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Source(msgspec.Struct):
    """What is known of one peer, since its link came up."""

    open: int = 0
    """Questions it has not answered yet."""
    bytes_in: int = 0
    rate: float | None = None
    """Bytes a second that it brought lately; None before its first answer."""
    lies: int = 0
    failed: int = 0
    """How often in a row it was busy or late."""
    rests_until: float = 0.0


class Sources:
    """The peers that pieces are asked of. All callers share it, so that a peer's bound holds over them."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._sources: dict[int, Source] = {}
        self._changed = trio.Event()

    def source(self, link: int) -> Source:
        """What is known of the peer on a link."""
        found = self._sources.get(link)
        if found is None:
            if len(self._sources) >= PEERS_MAX:
                up = set(self._peers.links())
                self._sources = {number: kept for number, kept in self._sources.items() if number in up}
            found = self._sources[link] = Source()
        return found

    def stumbles(self, link: int) -> bool:
        """Whether a peer was late lately and may yet do better: all are, to a node that was paused itself."""
        return 0 < self.source(link).failed < STUMBLES

    def asked(self) -> int:
        """Return how many peers have a question open."""
        return sum(source.open > 0 for source in self._sources.values())

    def lied(self, link: int, reason: str) -> None:
        """What this peer brought was found false, be it later: its fault."""
        source = self.source(link)
        source.lies += 1
        self._rest(source)
        self._peers.fault(link, reason)

    async def get(
        self,
        wanted: Wanted,
        who: Callable[[], Collection[int]],
        judge: Callable[[int, bytes], T],
        bytes_expected: int,
        besides: Collection[int] = (),
        is_all: Callable[[T], bool] = lambda result: True,
    ) -> T | None:
        """Return what `judge` makes of the first answer that it accepts; None where none of `who` gives one.

        `who` names the links whose peers may have it, best first, and is asked again before each question;
        links in `besides` are not asked. `judge` raises Lie, which costs that peer its score, and the next is
        asked. `bytes_expected` is a guess from which deadlines follow. `is_all` says whether a result is all
        that was asked for: who is quick with little is not quick. Cancelling forgets the questions.
        """
        race = _Race(set(besides), judge, is_all)
        async with trio.open_nursery() as nursery:
            while not race.won:
                link = self._choose(who(), race.asked, bytes_expected)
                if link is not None and race.open < ASKED_AT_ONCE:
                    race.asked.add(link)
                    race.open += 1
                    source = self.source(link)
                    source.open += 1
                    patience_s = PATIENCE_S + PATIENCE * bytes_expected / (source.rate or RATE_FIRST)
                    nursery.start_soon(self._ask, link, source, wanted, bytes_expected, race)
                    await race.move(patience_s)
                elif race.open:
                    await race.move(REST_S)
                elif all(possible in race.asked for possible in who()):
                    return None
                else:
                    await self._wait(who())
            nursery.cancel_scope.cancel()
        return race.result

    async def _ask(
        self, link: int, source: Source, wanted: Wanted, bytes_expected: int, race: "_Race[T]"
    ) -> None:
        began, ended = trio.current_time(), False
        try:
            answer = await self._peers.request(link, wanted, ANSWER_S + bytes_expected / RATE_MIN)
            ended = True
            if isinstance(answer, Refusal):
                self._refused(link, source, answer, race)
                return
            taken_s = max(trio.current_time() - began, 1e-6)
            source.bytes_in += len(answer)
            brought = max(len(answer), bytes_expected)
            if not race.won:
                try:
                    race.win(result := race.judge(link, answer))
                    source.failed = 0
                    if not race.is_all(result):
                        brought = len(answer)
                except Lie as lie:
                    self.lied(link, lie.reason)
            rate = brought / taken_s
            source.rate = rate if source.rate is None else source.rate + RATE_WEIGHT * (rate - source.rate)
        finally:
            source.open -= 1
            race.open -= 1
            race.moved.set()
            self._changed.set()
            if not ended and race.won and trio.current_time() > began:
                # Another was quicker: this one is no quicker than what it took so far.
                slow = bytes_expected / (trio.current_time() - began)
                source.rate = min(source.rate or slow, slow)

    def _refused(self, link: int, source: Source, answer: Refusal, race: "_Race[T]") -> None:
        if answer is Refusal.BUSY:
            # It may answer later: it is no stranger to this piece.
            race.asked.discard(link)
            self._rest(source)
        elif answer is Refusal.LATE:
            source.rate = RATE_MIN / 2
            self._rest(source)

    def _rest(self, source: Source) -> None:
        """Let it rest, twice as long as the last time; what it was asked before that counts as one."""
        now = trio.current_time()
        if source.rests_until <= now:
            source.rests_until = now + min(REST_MAX_S, REST_S * 2.0**source.failed)
            source.failed += 1

    def _choose(self, links: Collection[int], asked: set[int], bytes_expected: int) -> int | None:
        """Return who should have it soonest; among equals the first named. None: wait for one that is better
        than all that are free."""
        now = trio.current_time()
        best, best_s = None, 0.0
        for link in links:
            source = self.source(link)
            if link in asked or source.rests_until > now:
                continue
            expected_s = (source.open + 1) * bytes_expected / (source.rate or RATE_FIRST)
            if best is None or expected_s < best_s:
                best, best_s = link, expected_s
        return best if best is not None and self.source(best).open < OPEN_MAX else None

    async def _wait(self, links: Collection[int]) -> None:
        """Return when one of these may have come free: an answer came, or a rest is over."""
        if self._changed.is_set():
            self._changed = trio.Event()
        now = trio.current_time()
        rests = [until for link in links if (until := self.source(link).rests_until) > now]
        with trio.move_on_at(min([now + REST_S, *rests])):
            await self._changed.wait()


class _Race(Generic[T]):
    """One piece on its way."""

    def __init__(
        self, asked: set[int], judge: Callable[[int, bytes], T], is_all: Callable[[T], bool]
    ) -> None:
        self.asked = asked
        """Who is asked, or need not be asked again."""
        self.judge, self.is_all = judge, is_all
        self.open = 0
        self.won = False
        self.result: T | None = None
        self.moved = trio.Event()

    def win(self, result: T) -> None:
        self.won, self.result = True, result

    async def move(self, patience_s: float) -> None:
        """Return when a question of this race ends, or after this long."""
        with trio.move_on_after(patience_s):
            await self.moved.wait()
        self.moved = trio.Event()
