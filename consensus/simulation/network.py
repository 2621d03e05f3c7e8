"""Links between validators: delays, loss, duplication, and cuts in one direction or both.

Reordering needs no knob: every message draws its own delay. Who is cut is decided when a message leaves.
"""

from random import Random

from consensus.simulation.scenario import Links, Shape

Pair = tuple[int, int]
"""(from, to)."""


class Network:
    def __init__(self, random: Random, links: Links) -> None:
        self.links = links
        self._random = random
        self._cut: dict[Pair, None] = {}

    def delays_ms(self, source: int, to: int) -> tuple[float, ...]:
        """How long each copy of a message takes; none if it is lost."""
        if (source, to) in self._cut:
            return ()
        links, draw = self.links, self._random.random
        if links.loss and draw() < links.loss:
            return ()
        if links.duplication and draw() < links.duplication:
            return (self._delay_ms(), self._delay_ms())
        return (self._delay_ms(),)

    def _delay_ms(self) -> float:
        links, draw = self.links, self._random.random
        longest = links.tail_ms if links.tail and draw() < links.tail else links.delay_max_ms
        return links.delay_min_ms + draw() * max(0, longest - links.delay_min_ms)

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
