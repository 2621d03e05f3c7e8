"""What is left to chance while a cluster runs. Each draw has a name, so that a run can be cut down.

Were everything drawn from one stream, one fault less would reshuffle all that comes after it. A draw's name
is its place (a link and the message on it, a disk's sync) and how often that place has come before; the
outcome depends on the seed and the name alone. Every place has a usual outcome too: a message arrives once,
after the usual delay; a disk takes its usual time. A run with a `plan` meets the usual everywhere but where
its plan says otherwise: that plan is what shrinking.py makes small.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from struct import Struct

import msgspec

from consensus.simulation.scenario import Links

Place = tuple[str | int, ...]
"""What a draw is about: short words and numbers."""
Moment = tuple[Place, int]
"""A place, and how often it came before."""
Outcome = tuple[float, ...]
"""The delays of a message's copies, in ms, none if it is lost; or one number, which every other draw is."""

_encode = msgspec.msgpack.Encoder().encode
_four = Struct(">4I").unpack
_WHOLE = 2**32


class Chance:
    """Args:
    seed: what the outcomes follow from.
    plan: instead of the seed: the outcomes that are not the usual ones.
    record: whether to keep the outcomes that are not the usual ones, as `taken`; of a plan, what was met.
    """

    def __init__(
        self, seed: int, plan: Mapping[Moment, Outcome] | None = None, *, record: bool = False
    ) -> None:
        self.taken: dict[Moment, Outcome] | None = {} if record else None
        self._seed = sha256(str(seed).encode()).digest()[:16]
        self._plan = plan
        self._came: dict[Place, int] = {}

    def delays_ms(self, place: Place, links: Links, *, cut: bool) -> Outcome:
        """How long each copy of a message takes; none if it is lost. One that is `cut` off is, and counts."""
        came = self._came.get(place, 0)
        self._came[place] = came + 1
        if cut:
            return ()
        if self._plan is not None:
            planned = self._planned(place, came)
            return planned if planned is not None else (links.usual_ms,)
        lost, twice, first, second = self._draw(place, came)
        if lost < links.loss:
            outcome: Outcome = ()
        elif twice < links.duplication:
            outcome = (_delay_ms(links, first), _delay_ms(links, second))
        else:
            outcome = (_delay_ms(links, first),)
        if self.taken is not None and outcome != (links.usual_ms,):
            self.taken[place, came] = outcome
        return outcome

    def happens(self, place: Place, share: float) -> bool:
        """Whether something happens that usually does not."""
        return self._number(place, 0.0, lambda drawn: float(drawn < share)) > 0

    def one_of(self, place: Place, count: int) -> int:
        """A number below `count`, usually 0."""
        return min(int(self._number(place, 0.0, lambda drawn: float(int(drawn * count)))), count - 1)

    def between(self, place: Place, low: float, high: float) -> float:
        """A time or the like, usually the middle."""
        return self._number(place, (low + high) / 2, lambda drawn: round(low + (high - low) * drawn, 3))

    def _number(self, place: Place, usual: float, outcome_of: Callable[[float], float]) -> float:
        came = self._came.get(place, 0)
        self._came[place] = came + 1
        if self._plan is not None:
            planned = self._planned(place, came)
            return planned[0] if planned else usual
        outcome = outcome_of(self._draw(place, came)[0])
        if self.taken is not None and outcome != usual:
            self.taken[place, came] = (outcome,)
        return outcome

    def _planned(self, place: Place, came: int) -> Outcome | None:
        assert self._plan is not None
        planned = self._plan.get((place, came))
        if planned is not None and self.taken is not None:
            self.taken[place, came] = planned
        return planned

    def _draw(self, place: Place, came: int) -> tuple[float, float, float, float]:
        """Four numbers from 0 to below 1."""
        a, b, c, d = _four(sha256(self._seed + _encode((place, came))).digest()[:16])
        return a / _WHOLE, b / _WHOLE, c / _WHOLE, d / _WHOLE


def _delay_ms(links: Links, drawn: float) -> float:
    """The first part of the draw says whether it is late, the rest by how much."""
    if drawn < links.tail:
        return round(links.delay_min_ms + drawn / links.tail * max(0, links.tail_ms - links.delay_min_ms), 3)
    longest = links.delay_max_ms - links.delay_min_ms
    return round(links.delay_min_ms + (drawn - links.tail) / (1 - links.tail) * longest, 3)
