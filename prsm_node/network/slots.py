"""Who keeps a link when there are more peers than places: no crowd of strangers fills them all.

A quarter of the places is for links that this node dialled itself and is never given up to those who come.
Of those who came, some keep their place for what an attacker cannot have at will: a group of its own, the
shortest way (ideas of Bitcoin's inbound eviction). Of the rest, the youngest of the most crowded network
group goes, and only for a newcomer of a less crowded one; where none is crowded, one of the younger half.
Whom this node needs, validators of the set and the operator's own peers, is no candidate at all (links.py).
"""

from collections import Counter
from collections.abc import Sequence

import msgspec

# Kept whatever comes: the nearest, and the oldest of as many groups.
NEAREST_KEPT = 4
GROUPS_KEPT = 8


class Holder(msgspec.Struct, frozen=True):
    """A place that somebody who came holds, or asks for."""

    number: int
    """Of the link; later ones are greater."""
    group: str
    round_trip_s: float | None = None


def reserved(links_max: int) -> int:
    """Return how many places only links that we dialled may take."""
    return links_max // 4


def gives_way(holders: Sequence[Holder], newcomer: Holder | None) -> Holder | None:
    """Return who loses its place to `newcomer`, None where that one is not let in.

    `newcomer` None stands for one that must get in: then only an empty `holders` gives None.
    """
    crowds = Counter(holder.group for holder in holders)
    rest = _unprotected(holders)
    if newcomer is None and not rest:
        rest = list(holders)
    if not rest:
        return None
    most = max(crowds[holder.group] for holder in rest)
    # Where no group is larger than another, age is what tells a friend from a flood.
    spare = (
        [holder for holder in rest if crowds[holder.group] == most] if most > 1 else rest[len(rest) // 2 :]
    )
    if newcomer is not None and most <= crowds[newcomer.group]:
        return None
    return spare[-1]


def _unprotected(holders: Sequence[Holder]) -> list[Holder]:
    """Those that may go, the eldest first."""
    by_age = sorted(holders, key=lambda holder: holder.number)
    measured = [holder for holder in by_age if holder.round_trip_s is not None]
    kept = {holder.number for holder in sorted(measured, key=lambda h: h.round_trip_s or 0.0)[:NEAREST_KEPT]}
    eldest: dict[str, int] = {}
    for holder in by_age:
        eldest.setdefault(holder.group, holder.number)
    kept |= set(list(eldest.values())[:GROUPS_KEPT])
    return [holder for holder in by_age if holder.number not in kept]
