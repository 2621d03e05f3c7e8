"""A schedule that breaks a promise, made short: what is left is what it takes.

Delta debugging (Zeller and Hildebrandt, 2002): leave something out, run it, and keep the shorter schedule if
it breaks the same promise. First a smaller cluster, then whole kinds of events (all jitter of messages, all
crashes, all actors), then halves, quarters and so on down to single events, until none can be spared. That
works because draws have names (chance.py): what is left out changes what follows from it and nothing else.

Whole daemons (prsm_node/simulation) hand in how theirs is drawn and played. What their seed leaves to chance
is not recorded draw by draw, which would be too many to leave out at a second each: all of it is the usual
outcome, or as the seed has it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from consensus.simulation.places import without
from consensus.simulation.run import Verdict, play
from consensus.simulation.scenario import Scenario
from consensus.simulation.schedule import (
    BadDisk,
    Crash,
    Cut,
    Entry,
    Faulty,
    Jump,
    Leap,
    Place,
    Schedule,
    Seal,
    Slow,
    Unusual,
    schedule_of,
)

AFTERWARDS_MS = 1_000
"""A shorter schedule may break the promise somewhat later than the one before it."""
FAULTS_MIN_MS = 100
VALIDATORS_MIN = 4
"""Fewer bear no faulty one."""

Event = Entry | Faulty


class Played(Protocol):
    """A run of a schedule."""

    @property
    def verdict(self) -> Verdict: ...
    @property
    def schedule(self) -> Schedule:
        """What was run, without what did not happen."""
        ...

    @property
    def reached_ms(self) -> Mapping[Place, float]:
        """When each round was voted in first."""
        ...


Draw = Callable[[Scenario, int, int | None], Schedule]
Play = Callable[[Schedule], Played]


def recorded(schedule: Schedule) -> Played:
    """Have replicas play it, with every draw by name."""
    return play(schedule, record=True)


class Attempt(NamedTuple):
    """After each try: the shortest so far, and how many were run."""

    best: Schedule
    tries: int


def shrink(
    scenario: Scenario,
    seed: int,
    nodes: int | None = None,
    *,
    draw: Draw = schedule_of,
    play: Play = recorded,
) -> Iterator[Attempt]:
    """Shrink a failing seed, try by try, for as long as the caller asks; nothing comes from one that does not
    fail. The last is the best, and breaks the promise that the seed breaks."""
    whole = play(draw(scenario, seed, nodes))
    promise = whole.verdict.promise
    if promise is None:
        return
    shrinking = _Shrinking(_ending(whole.schedule, whole.verdict.virtual_ms), play)
    yield Attempt(shrinking.best, 1)
    for count in range(scenario.nodes_min, whole.verdict.nodes):
        smaller = play(draw(scenario, seed, count))
        shrinking.tries += 1
        if smaller.verdict.promise == promise:
            shrinking.best = _ending(smaller.schedule, smaller.verdict.virtual_ms)
            break
        yield Attempt(shrinking.best, shrinking.tries)
    yield from shrinking.steps()


def _ending(schedule: Schedule, broken_ms: float) -> Schedule:
    """A run that has gone on for long after the promise was broken before keeps it."""
    if broken_ms >= schedule.calm_ms:
        return schedule
    return replace(schedule, end_ms=min(schedule.calm_ms, int(broken_ms) + AFTERWARDS_MS))


class _Shrinking:
    def __init__(self, schedule: Schedule, play: Play) -> None:
        self.best = schedule
        self.tries = 1
        self._play = play

    def steps(self) -> Iterator[Attempt]:
        self._anchor()
        yield from self._calmer()
        for spared in KINDS:
            left = [event for event in _events(self.best) if not spared(event, self.best)]
            if len(left) < self.best.events():
                self._try(left)
                yield Attempt(self.best, self.tries)
        before = None
        while before is None or before > self._measure():
            before = self._measure()
            if not self.best.recorded:
                self._try(_events(self.best), recorded=True)
                yield Attempt(self.best, self.tries)
            size = max(1, self.best.events() // 2)
            while size >= 1:
                yield from self._chunks(size)
                size //= 2
            yield from self._smaller()
            self._anchor()
            yield from self._calmer()

    def _anchor(self) -> None:
        """Time each fault from the round it falls in, which comes sooner or later when less befalls it."""
        reached_ms = self._play(self.best).reached_ms
        self._try([_anchored(event, reached_ms) for event in _events(self.best)])

    def _measure(self) -> tuple[int, int]:
        return len(self.best.powers), self.best.events()

    def _calmer(self) -> Iterator[Attempt]:
        """Let all heal sooner, where that does not mend it."""
        if self.best.end_ms is not None:
            return
        calm_ms = FAULTS_MIN_MS
        while calm_ms < self.best.calm_ms:
            if self._try(_events(self.best), calm_ms=calm_ms):
                return
            yield Attempt(self.best, self.tries)
            calm_ms += max(FAULTS_MIN_MS, calm_ms // 4)

    def _chunks(self, size: int) -> Iterator[Attempt]:
        """Leave out so many at a time, the last first: what comes late follows from what came before."""
        end = self.best.events()
        while end > 0:
            events = _events(self.best)
            end = min(end, len(events))
            self._try(events[: max(0, end - size)] + events[end:])
            end -= size
            yield Attempt(self.best, self.tries)

    def _smaller(self) -> Iterator[Attempt]:
        """Leave out validators, with what is about them."""
        for gone in reversed(range(len(self.best.powers))):
            if len(self.best.powers) > VALIDATORS_MIN and not any(f.who == gone for f in self.best.faulty):
                powers = self.best.powers[:gone] + self.best.powers[gone + 1 :]
                self._try(_moved(_events(self.best), gone), powers=powers)
                yield Attempt(self.best, self.tries)

    def _try(
        self,
        left: Sequence[Event],
        *,
        powers: tuple[int, ...] | None = None,
        calm_ms: int | None = None,
        recorded: bool = False,
    ) -> bool:
        self.tries += 1
        faulty = tuple(event for event in left if isinstance(event, Faulty))
        entries = tuple(event for event in left if not isinstance(event, Faulty))
        shorter = replace(
            self.best,
            faulty=faulty,
            entries=entries,
            powers=powers or self.best.powers,
            calm_ms=calm_ms or self.best.calm_ms,
            recorded=recorded or self.best.recorded,
        )
        run = self._play(shorter)
        if run.verdict.promise != self.best.promise:
            return False
        self.best = _ending(run.schedule, run.verdict.virtual_ms)
        return True


def _events(schedule: Schedule) -> list[Event]:
    return [*schedule.faulty, *schedule.entries]


def _anchored(event: Event, reached_ms: Mapping[Place, float]) -> Event:
    if isinstance(event, Unusual | Faulty):
        return event
    at_ms = reached_ms[event.after] + event.at_ms
    after = max((begun_ms, place) for place, begun_ms in reached_ms.items() if begun_ms <= at_ms)[1]
    return replace(event, after=after, at_ms=round(at_ms - reached_ms[after], 3))


def _moved(events: Sequence[Event], gone: int) -> list[Event]:
    """What is left of them in a cluster without this validator, above which numbers move down."""
    moved: list[Event] = []
    for event in events:
        if isinstance(event, Unusual):
            place = without(event.place, gone)
            if place is not None:
                moved.append(replace(event, place=place))
        elif isinstance(event, Cut):
            members = tuple(who - (who > gone) for who in event.members if who != gone)
            moved.append(replace(event, members=members))
        elif event.who != gone:
            moved.append(replace(event, who=event.who - (event.who > gone)))
    return moved


Spared = Callable[[Event, Schedule], bool]


def _message(copies: int, *, late: bool) -> Spared:
    def spared(event: Event, schedule: Schedule) -> bool:
        if not isinstance(event, Unusual) or not isinstance(event.place[0], int):
            return False
        in_time = all(delay_ms <= schedule.scenario.links.delay_max_ms for delay_ms in event.outcome)
        return len(event.outcome) == copies and in_time is not late

    return spared


def _fault(kind: type) -> Spared:
    return lambda event, schedule: isinstance(event, kind)


def _not_a_message(event: Event, schedule: Schedule) -> bool:
    return isinstance(event, Unusual) and isinstance(event.place[0], str)


KINDS: tuple[Spared, ...] = (
    _message(1, late=False),
    _not_a_message,
    _message(1, late=True),
    _message(2, late=False),
    _message(2, late=True),
    _message(0, late=False),
    *(_fault(kind) for kind in (Slow, Jump, Leap, BadDisk, Seal, Crash, Cut, Faulty)),
)
"""What may be spared as a whole, the most numerous first."""
