"""Who came and has not shown yet who it is: bounded, and no crowd keeps another one out.

Connections before their handshake, connections without a link, links before their greeting: each kind has a
lobby. When one is full, the one goes that came first of the network group from which most are there: what is
honest passes in milliseconds, and a flood pushes out itself. How fast a group may come is bounded as well,
since a handshake costs us milliseconds and a stranger nothing.
"""

from collections import Counter, OrderedDict
from typing import Generic, TypeVar

from prsm_node.network.groups import is_shared
from prsm_node.token_bucket import TokenBucket

Guest = TypeVar("Guest")

# A group that reconnects after an outage brings its nodes within seconds; at 5 ms a handshake five a second
# are 2.5 % of a core. A whole network may live on one machine or in one room.
ARRIVALS_PER_S, ARRIVALS_BURST = 5.0, 32.0
NEAR_ARRIVALS_PER_S, NEAR_ARRIVALS_BURST = 50.0, 256.0
# 1,024 groups x about 250 bytes; the one that came least recently is forgotten.
GROUPS_MAX = 1_024


class Lobby(Generic[Guest]):
    """The guests of one kind, at most `bound`."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self._guests: OrderedDict[Guest, str] = OrderedDict()

    def enter(self, guest: Guest, group: str) -> Guest | None:
        """Take a guest in; return the one who has to go for it."""
        leaves: Guest | None = None
        if len(self._guests) >= self.bound:
            crowds = Counter(self._guests.values())
            most = max(crowds.values())
            leaves = next(one for one, its_group in self._guests.items() if crowds[its_group] == most)
            del self._guests[leaves]
        self._guests[guest] = group
        return leaves

    def leave(self, guest: Guest) -> bool:
        """Forget a guest; False where it was not there any more."""
        return self._guests.pop(guest, None) is not None

    def __len__(self) -> int:
        return len(self._guests)


class Arrivals:
    """How many may come of each group."""

    def __init__(self) -> None:
        self._groups: OrderedDict[str, TokenBucket] = OrderedDict()

    def admit(self, group: str, now: float) -> bool:
        """Whether one more of this group may come now; if so it is counted."""
        bucket = self._groups.pop(group, None)
        if bucket is None:
            far = is_shared(group)
            per_s = ARRIVALS_PER_S if far else NEAR_ARRIVALS_PER_S
            bucket = TokenBucket(per_s, ARRIVALS_BURST if far else NEAR_ARRIVALS_BURST, now)
        self._groups[group] = bucket
        if len(self._groups) > GROUPS_MAX:
            self._groups.popitem(last=False)
        return bucket.take(1, now)
