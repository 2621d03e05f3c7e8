"""What befalls a network and when, drawn from a seed ahead: one seed gives one schedule, on any machine."""

from itertools import combinations
from random import Random
from typing import Final

import msgspec

from prsm_node.chaos.scenario import Kind, Nemesis, Scenario, Shape
from prsm_node.chaos.shaping import Condition

FIRST_S: Final = 3.0
"""Before the first fault, so that what is healthy is measured too."""
LAST_S: Final = 8.0
"""After the last one, or a quarter of the run where that is less: time to recover in."""

Pair = tuple[int, int]


class Fault(msgspec.Struct, frozen=True):
    """One fault: what, when after the begin of the run, and for how long."""

    kind: Kind
    at_s: float
    for_s: float
    nodes: tuple[int, ...] = ()
    """Those that are killed or paused."""
    cuts: tuple[Pair, ...] = ()
    """(from, to) of each direction that is cut."""
    links: Condition | None = None
    """What all links are like meanwhile."""
    about: str = ""


def schedule(scenario: Scenario, seed: int, nodes: int, seconds: float) -> list[Fault]:
    """Draw the faults of a run: one after the other, the last ending in time to recover from it."""
    random = Random(seed)
    end = seconds - min(LAST_S, seconds / 4)
    at = min(FIRST_S, seconds / 4)
    faults: list[Fault] = []
    while True:
        nemesis = random.choices(scenario.faults, [one.weight for one in scenario.faults])[0]
        for_s = round(random.uniform(*nemesis.for_s), 1)
        fault = _fault(nemesis, round(at, 1), for_s, nodes, random)
        if at + for_s > end:
            return faults
        faults.append(fault)
        at += for_s + random.uniform(*scenario.gap_s)


def _fault(nemesis: Nemesis, at_s: float, for_s: float, nodes: int, random: Random) -> Fault:
    if nemesis.kind == "slow":
        return Fault("slow", at_s, for_s, links=nemesis.links, about=_told(nemesis.links))
    if nemesis.kind == "partition":
        shape = random.choice(nemesis.shapes)
        order = random.sample(range(nodes), nodes)
        return Fault("partition", at_s, for_s, cuts=cuts(shape, order), about=_shape_told(shape, order))
    node = random.randrange(nodes)
    return Fault(nemesis.kind, at_s, for_s, nodes=(node,), about=f"node{node}")


def cuts(shape: Shape, order: list[int]) -> tuple[Pair, ...]:
    """Return the directions that a partition of this shape cuts; `order` says who stands where in it."""
    count = len(order)
    if shape == "one_way":
        return tuple(sorted((order[0], other) for other in order[1:]))
    if shape == "ring":
        kept = {frozenset((order[i], order[(i + 1) % count])) for i in range(count)}
        apart = [pair for pair in combinations(order, 2) if frozenset(pair) not in kept]
    elif shape == "bridge":
        middle, rest = order[0], order[1:]
        left = set(rest[: len(rest) // 2])
        apart = [
            (a, b) for a, b in combinations(order, 2) if middle not in (a, b) and (a in left) != (b in left)
        ]
    else:
        left = set(order[: count // 2 if shape == "half" else 1])
        apart = [(a, b) for a, b in combinations(order, 2) if (a in left) != (b in left)]
    return tuple(sorted([*apart, *((b, a) for a, b in apart)]))


def _shape_told(shape: Shape, order: list[int]) -> str:
    names = [f"node{i}" for i in order]
    if shape == "one":
        return f"{names[0]} alone"
    if shape == "one_way":
        return f"nothing of {names[0]} arrives"
    if shape == "half":
        return f"{' '.join(sorted(names[: len(names) // 2]))} | {' '.join(sorted(names[len(names) // 2 :]))}"
    return f"{shape} {' '.join(names)}"


def _told(links: Condition) -> str:
    parts = []
    if links.delay_ms or links.jitter_ms:
        parts.append(f"{links.delay_ms:g}+{links.jitter_ms:g} ms")
    if links.loss:
        parts.append(f"{links.loss:.0%} lost")
    if links.rate_kbit:
        parts.append(f"{links.rate_kbit:g} kbit/s")
    return ", ".join(parts)
