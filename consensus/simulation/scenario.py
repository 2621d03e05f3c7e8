"""A scenario is data: orthogonal faults, each with its rate, for a while; then calm, and a bound on recovery.

FoundationDB's simulator is the model: one seed draws everything that a scenario leaves open. All times are
virtual milliseconds; an interval of 0 means never.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

Ms = Annotated[int, msgspec.Meta(ge=0, le=3_600_000)]
Share = Annotated[float, msgspec.Meta(ge=0, le=0.9)]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1, le=31)]
Hours = Annotated[int, msgspec.Meta(ge=1, le=24 * 365)]
Power = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]

Shape = Literal["half", "one", "ring", "bridge", "one_way"]
Actor = Literal[
    "changeling",
    "conspirator",
    "double_acknowledger",
    "double_voter",
    "equivocating_proposer",
    "forged_acknowledgements",
    "invalid_values",
    "lane_forker",
    "leapfrogger",
    "lock_forgetter",
    "locksmith",
    "orphan_author",
    "polka_hider",
    "runaway_author",
    "selective_sender",
    "silent",
    "splitter",
    "stale_certificates",
    "twins",
    "vote_flooder",
    "withholder",
    "wrong_clock",
]


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Read from a file: an unknown key is a mistake."""


class Links(Data, frozen=True):
    """What every message meets on its way."""

    delay_min_ms: Ms = 1
    delay_max_ms: Ms = 20
    tail: Share = 0.0
    """The share of messages that take up to `tail_ms` instead."""
    tail_ms: Ms = 500
    loss: Share = 0.0
    duplication: Share = 0.0

    @property
    def usual_ms(self) -> float:
        """What a message takes where nothing is left to chance."""
        return (self.delay_min_ms + self.delay_max_ms) / 2


class Partitions(Data, frozen=True):
    every_ms: Ms = 0
    for_ms: Ms = 2_000
    shapes: tuple[Shape, ...] = ("half", "one", "ring", "bridge", "one_way")


class Crashes(Data, frozen=True):
    every_ms: Ms = 0
    down_ms: Ms = 1_000
    """At most; then it starts from what its disk kept."""


class Clocks(Data, frozen=True):
    every_ms: Ms = 0
    jump_ms: Ms = 1_500
    """How far a clock jumps at most, to and fro."""
    leap_every_ms: Ms = 0
    leap_hours: Hours = 72
    """How far the clock of any validator leaps at most, to and fro. While those of a third are wrong nothing
    new need be decided; all else holds, and once they are right new blocks come as ever."""


class Slowness(Data, frozen=True):
    every_ms: Ms = 0
    for_ms: Ms = 1_500
    factor: Count = 10
    """By how much disk and execution are slower then."""


class Rings(Data, frozen=True):
    """Those who know each other, and work together."""

    share: Probability = 0.0
    """The share of seeds in which all who are faulty are of one kind, one of `kinds`."""
    kinds: tuple[Actor, ...] = ()


class Machines(Data, frozen=True):
    """What befalls whole daemons besides (prsm_node/simulation): replicas have no machine."""

    twins: Probability = 0.0
    """The share of seeds in which as many validators as may be faulty run twice, on two machines each."""
    liars: Probability = 0.0
    """The share in which they run once, and what they say is altered or held back on its way out."""
    disk_every_ms: Ms = 0
    disk_for_ms: Ms = 1_500
    """For so long at most a disk is full or fails; then it is as it should be."""
    leap_every_ms: Ms = 0
    leap_hours: Hours = 72
    """How far the clock of one machine leaps at most, to and fro."""


class Scenario(Data, frozen=True):
    about: str = ""
    nodes_min: Count = 4
    nodes_max: Count = 10
    powers_max: Power = 1
    """Powers are drawn up to this, small ones more often than great ones; 1: all are equal."""
    jails: bool = True
    """Who is convicted leaves the set; otherwise it stays, to go on attacking."""
    changes_every: Annotated[int, msgspec.Meta(ge=0, le=31)] = 0
    """The validator set changes at each height that this divides (execution.py); 0: never."""
    actors: tuple[Actor, ...] = ()
    """Whom the faulty are drawn from."""
    rings: Rings = Rings()
    over_a_third: bool = False
    """More than a third is faulty: agreement and liveness are not promised then, the rest is."""
    faults_ms: Ms = 8_000
    calm_bound_ms: Ms = 15_000
    """All honest decide new blocks within this time after the last fault has healed, and the waits of rounds
    that the rotation gives to faulty proposers, if there is anything to order; otherwise blocks come a
    heartbeat apart, and they have those on top.

    What was lost goes again after 2 s at most. A faulty proposer's round waits 1 s, and half a second more
    with each round of its height: four of them in a row, as nine validators can have it, cost 7 s, and the
    next heights three of them, and two. Where messages take up to a second, all takes longer.
    """
    batch_every_ms: Ms = 300
    """0: an idle network."""
    links: Links = Links()
    partitions: Partitions = Partitions()
    crashes: Crashes = Crashes()
    clocks: Clocks = Clocks()
    slowness: Slowness = Slowness()
    machines: Machines = Machines()


def scenario_of(fields: Mapping[str, Any]) -> Scenario:
    """Take what a file holds. Raise ValueError with a sentence that names the field."""
    try:
        scenario = msgspec.convert(fields, Scenario)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    return validated(scenario)


def validated(scenario: Scenario) -> Scenario:
    """Return it; raise ValueError with a sentence where its fields do not fit each other."""
    if scenario.nodes_min > scenario.nodes_max:
        raise ValueError(f"nodes_min is {scenario.nodes_min}, above nodes_max {scenario.nodes_max}")
    if scenario.links.delay_min_ms > scenario.links.delay_max_ms:
        raise ValueError("links.delay_min_ms is above links.delay_max_ms")
    if not scenario.partitions.shapes:
        raise ValueError("partitions.shapes is empty; leave it out for all, or set partitions.every_ms to 0")
    if strangers := set(scenario.rings.kinds) - set(scenario.actors):
        raise ValueError(f"rings.kinds names {min(strangers)}, which actors lacks")
    if scenario.rings.share and not scenario.rings.kinds:
        raise ValueError("rings.kinds is empty; name some, or set rings.share to 0")
    return scenario
