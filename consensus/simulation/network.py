"""Links between validators: delays, loss, duplication, and cuts in one direction or both.

Reordering needs no knob: every message draws its own delay. Who is cut is decided when a message leaves.
"""

from consensus.inputs import Input
from consensus.simulation.chance import Chance
from consensus.simulation.places import place_of
from consensus.simulation.scenario import Links, Shape

Pair = tuple[int, int]
"""(from, to)."""


class Network:
    def __init__(self, chance: Chance, links: Links) -> None:
        self.links = links
        self._chance = chance
        self._cut: dict[Pair, None] = {}

    def delays_ms(self, source: int, to: int, what: Input) -> tuple[float, ...]:
        """How long each copy of a message takes; none if it is lost."""
        place = (source, to, *place_of(what))
        return self._chance.delays_ms(place, self.links, cut=(source, to) in self._cut)

    def is_cut(self, source: int, to: int) -> bool:
        return (source, to) in self._cut

    def cut(self, pairs: list[Pair]) -> None:
        """Nothing leaves along these any more, besides what was cut before."""
        self._cut.update(dict.fromkeys(pairs))

    def heal(self) -> None:
        self._cut.clear()


def shaped(shape: Shape, members: list[int]) -> list[Pair]:
    """Return the pairs that a partition of this shape cuts among members in drawn order.

    half: two parts. one: the first alone. ring: each hears its two neighbours. bridge: two halves that only
    the first still joins. one_way: the first half is not heard by the second.
    """
    pairs = [(a, b) for a in members for b in members if a != b]
    place = {member: i for i, member in enumerate(members)}
    n = len(members)

    def left(member: int) -> bool:
        return place[member] < (n + 1) // 2

    if shape == "half":
        return [(a, b) for a, b in pairs if left(a) != left(b)]
    if shape == "one":
        return [(a, b) for a, b in pairs if 0 in (place[a], place[b])]
    if shape == "ring":
        return [(a, b) for a, b in pairs if (place[a] - place[b]) % n not in (1, n - 1)]
    if shape == "bridge":
        return [(a, b) for a, b in pairs if left(a) != left(b) and 0 not in (place[a], place[b])]
    return [(a, b) for a, b in pairs if left(a) and not left(b)]
