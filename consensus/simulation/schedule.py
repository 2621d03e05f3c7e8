"""What befalls a cluster, as data: who is in it and what happens when, drawn from a seed or read.

A schedule of a seed leaves messages, disks and the like to `Chance`; one that was recorded names each outcome
that was not the usual one. Its length is the number of its events: every entry (a cut, a crash, a jump of a
clock, a slow disk, a batch that is sealed, a message that is lost, doubled or does not take the usual time, a
disk or an actor that does not do the usual), and every faulty validator. Whole daemons (prsm_node/simulation)
are befallen by the same, and by what only machines know.
"""

from collections.abc import Iterable
from random import Random
from typing import Annotated, Literal

import msgspec
from msgspec.structs import replace

from consensus.simulation.chance import Chance, Moment, Outcome
from consensus.simulation.scenario import Actor, Data, Ms, Scenario, Shape, validated

EFFECTS_UNTIL_CRASH = 12
"""A step has at most a dozen effects: a crash may fall between any two."""
ENTRIES_MAX = 200_000
"""Ten times what a minute of the largest cluster records."""
LEAP_MS_MAX = 365 * 24 * 3_600_000

DAEMON_ACTORS: tuple[Actor, ...] = (
    "double_voter",
    "equivocating_proposer",
    "selective_sender",
    "twins",
    "withholder",
)
"""What a whole daemon may be."""

At = Annotated[float, msgspec.Meta(ge=0, le=3_600_000)]
Off = Annotated[int, msgspec.Meta(ge=-LEAP_MS_MAX, le=LEAP_MS_MAX)]
Number = Annotated[int, msgspec.Meta(ge=0, le=61)]
"""Of a process: with twins there are more than validators."""


Count = Annotated[int, msgspec.Meta(ge=0, le=2**32)]
Place = tuple[Count, Count]
"""(height, round): what befalls a cluster does so `at_ms` after somebody first votes there, or, after (0, 0),
after its start."""


class Cut(Data, frozen=True, tag_field="event", tag="cut"):
    """Links are cut in this shape until it heals, or until the next cut, which heals it first."""

    at_ms: At
    shape: Shape
    members: Annotated[tuple[Number, ...], msgspec.Meta(max_length=62)]
    for_ms: At
    after: Place = (0, 0)


class Crash(Data, frozen=True, tag_field="event", tag="crash"):
    """A process ends after so many more effects, and starts again from what its disk kept."""

    at_ms: At
    who: Number
    effects: Annotated[int, msgspec.Meta(ge=0, le=1_000)]
    back_after_ms: At
    after: Place = (0, 0)


class Jump(Data, frozen=True, tag_field="event", tag="clock"):
    """A clock is off by so much from here on."""

    at_ms: At
    who: Number
    off_ms: Off
    after: Place = (0, 0)


class Slow(Data, frozen=True, tag_field="event", tag="slow"):
    """Disk and execution take so many times as long."""

    at_ms: At
    who: Number
    factor: Annotated[int, msgspec.Meta(ge=1, le=1_000)]
    for_ms: At
    after: Place = (0, 0)


class BadDisk(Data, frozen=True, tag_field="event", tag="disk"):
    """Nothing that the machine of a whole daemon writes is durable for a while.

    A full disk takes what lies in the first `room_bytes` of a file and nothing else. A failing one takes what
    goes to the journal, and says then that it could not be synced; of other files it takes nothing.
    """

    at_ms: At
    who: Number
    how: Literal["full", "failing"]
    room_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**32)]
    for_ms: At
    after: Place = (0, 0)


class Leap(Data, frozen=True, tag_field="event", tag="leap"):
    """The clock of a whole daemon's machine is off by so much from here on."""

    at_ms: At
    who: Number
    off_ms: Off
    after: Place = (0, 0)


class Seal(Data, frozen=True, tag_field="event", tag="seal"):
    """A mempool closes a batch, if its lane has room."""

    at_ms: At
    who: Number
    body: Annotated[int, msgspec.Meta(ge=1, le=2**32)]
    after: Place = (0, 0)


class Unusual(Data, frozen=True, tag_field="event", tag="unusual"):
    """A draw that does not come out as usual: for a message the delays of its copies, none if it is lost."""

    place: Annotated[tuple[str | int, ...], msgspec.Meta(min_length=1, max_length=16)]
    came: Annotated[int, msgspec.Meta(ge=0, le=2**32)]
    outcome: Annotated[tuple[At, ...], msgspec.Meta(max_length=2)]


MachineFault = BadDisk | Leap
Fault = Cut | Crash | Jump | Slow | Seal | MachineFault
Entry = Fault | Unusual


class Faulty(Data, frozen=True):
    """A validator that is made of an actor."""

    who: Number
    actor: Actor


class Schedule(Data, frozen=True):
    scenario: Scenario
    """Its intervals are drawn already; the rest of it holds."""
    seed: int
    powers: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=1, le=2**32)], ...], msgspec.Meta(min_length=1, max_length=31)
    ]
    faulty: tuple[Faulty, ...]
    calm_ms: Ms
    """When all heals."""
    entries: Annotated[tuple[Entry, ...], msgspec.Meta(max_length=ENTRIES_MAX)]
    end_ms: Ms | None = None
    """When it ends, if not after all has healed and new blocks are decided."""
    recorded: bool = False
    """Whether nothing is left to chance: what no entry names takes its usual outcome."""
    promise: str | None = None
    """What was broken."""
    daemons: bool = False
    """Whether whole daemons meet it, and not replicas."""

    def events(self) -> int:
        """How long it is (see above)."""
        return len(self.entries) + len(self.faulty)

    def processes(self) -> int:
        return len(self.powers) + sum(one.actor == "twins" for one in self.faulty)

    def faults(self) -> list[Fault]:
        """Those that befall somebody who is there."""
        there = range(self.processes())
        faults = [entry for entry in self.entries if not isinstance(entry, Unusual)]
        return [
            f for f in faults if all(who in there for who in (f.members if isinstance(f, Cut) else (f.who,)))
        ]

    def chance(self, *, record: bool = False) -> Chance:
        """What messages, disks and actors meet."""
        plan: dict[Moment, Outcome] | None = None
        if self.recorded:
            unusual = (entry for entry in self.entries if isinstance(entry, Unusual))
            plan = {(entry.place, entry.came): entry.outcome for entry in unusual}
        return Chance(self.seed, plan, record=record)


def schedule_of(scenario: Scenario, seed: int, nodes: int | None = None) -> Schedule:
    """Draw the cluster (how many, how strong, who is faulty) and what befalls it."""
    drawn = Random(seed)
    count = drawn.randint(scenario.nodes_min, scenario.nodes_max) if nodes is None else nodes
    # Every order of magnitude is as likely: few are much stronger than the rest.
    powers = tuple(int((scenario.powers_max + 1) ** drawn.random()) for _ in range(count))
    order = list(range(count))
    drawn.shuffle(order)
    faulty: list[Faulty] = []
    if scenario.actors:
        weight = 0
        ring = _ring(scenario, seed)
        for i in order:
            over = 3 * (weight + powers[i]) >= sum(powers)
            if over and not scenario.over_a_third:
                continue
            weight += powers[i]
            kind = drawn.choice(scenario.actors)
            faulty.append(Faulty(i, ring or kind))
            if over:
                break
    schedule = Schedule(
        scenario=scenario,
        seed=seed,
        powers=powers,
        faulty=tuple(sorted(faulty, key=lambda one: one.who)),
        calm_ms=scenario.faults_ms,
        entries=(),
    )
    return replace(schedule, entries=tuple(_drawn(scenario, seed, schedule.processes())))


def _ring(scenario: Scenario, seed: int) -> Actor | None:
    """What all who are faulty are, where they are of one kind."""
    drawn = Random(f"ring {seed}")
    return drawn.choice(scenario.rings.kinds) if drawn.random() < scenario.rings.share else None


def _drawn(scenario: Scenario, seed: int, processes: int) -> list[Fault]:
    """Each kind from a stream of its own."""
    until = scenario.faults_ms
    found: list[Fault] = []

    for drawn, at in _times("seal", seed, scenario.batch_every_ms, until + scenario.calm_bound_ms):
        found.append(Seal(at, drawn.randrange(processes), len(found) + 1))
    for drawn, at in _times("cut", seed, scenario.partitions.every_ms, until):
        members = list(range(processes))
        drawn.shuffle(members)
        shape = drawn.choice(scenario.partitions.shapes)
        for_ms = _ms(drawn.uniform(0.1, 1) * scenario.partitions.for_ms)
        found.append(Cut(at, shape, tuple(members), for_ms))
    for drawn, at in _times("crash", seed, scenario.crashes.every_ms, until):
        back = _ms(drawn.uniform(0.05, 1) * scenario.crashes.down_ms + 50)
        found.append(Crash(at, drawn.randrange(processes), drawn.randint(0, EFFECTS_UNTIL_CRASH), back))
    for drawn, at in _times("clock", seed, scenario.clocks.every_ms, until):
        off = drawn.randint(-1, 1) * drawn.randint(0, scenario.clocks.jump_ms)
        found.append(Jump(at, drawn.randrange(processes), off))
    for drawn, at in _times("leap", seed, scenario.clocks.leap_every_ms, until):
        off = leap_ms(drawn, scenario.clocks.leap_hours)
        found.append(Jump(at, drawn.randrange(processes), off))
    for drawn, at in _times("slow", seed, scenario.slowness.every_ms, until):
        for_ms = _ms(drawn.uniform(0.1, 1) * scenario.slowness.for_ms)
        found.append(Slow(at, drawn.randrange(processes), scenario.slowness.factor, for_ms))
    return sorted(found, key=lambda fault: fault.at_ms)


def leap_ms(drawn: Random, hours: int) -> int:
    """How far a clock leaps: every order of magnitude is as likely, from a second to so many hours."""
    off_ms = int(1_000 * (hours * 3_600) ** drawn.random())
    return drawn.choice((-1, 1)) * off_ms


def _times(kind: str, seed: int, every_ms: int, until_ms: int) -> Iterable[tuple[Random, float]]:
    if not every_ms:
        return
    drawn = Random(f"{kind} {seed}")
    at = drawn.uniform(0, 2) * every_ms
    while at < until_ms:
        yield drawn, _ms(at)
        at += drawn.uniform(0.2, 1.8) * every_ms


def _ms(time: float) -> float:
    return round(time, 3)


def text_of(schedule: Schedule) -> str:
    """The schedule as a file: JSON with an event a line, to be read by people too."""
    head = msgspec.to_builtins(replace(schedule, entries=()))
    del head["entries"]
    fields = [f"{_json(name)}: {_json(value)}" for name, value in head.items()]
    entries = ",\n".join(f"  {_json(entry)}" for entry in schedule.entries)
    return "{\n" + ",\n".join(fields) + ',\n"entries": [\n' + entries + "\n]\n}\n"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def schedule_from(text: str) -> Schedule:
    """Read what `text_of` wrote. Raise ValueError with a sentence that names the field."""
    try:
        schedule = msgspec.json.decode(text, type=Schedule)
    except RecursionError:
        raise ValueError("it nests too deep") from None
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    validated(schedule.scenario)
    if not schedule.daemons and any(isinstance(entry, MachineFault) for entry in schedule.entries):
        raise ValueError("entries name a disk or a leap, which befall whole daemons; daemons is false")
    if schedule.daemons and any(one.actor not in DAEMON_ACTORS for one in schedule.faulty):
        raise ValueError(f"faulty names an actor that is for replicas; of daemons there are {DAEMON_ACTORS}")
    numbers = [one.who for one in schedule.faulty]
    if len(set(numbers)) < len(numbers) or max(numbers, default=0) >= len(schedule.powers):
        raise ValueError("faulty names a validator twice, or one that powers lacks")
    return schedule
