"""How soon a network is back after a fault, by what its nodes report."""

import time
from collections.abc import Callable, Sequence

from prsm_node.chaos.asking import voted
from prsm_node.chaos.schedule import Fault
from prsm_node.chaos.traffic import Follower
from prsm_node.cli.fleet import Daemon

Look = Callable[[], float | None]


class Returning:
    """Of one fault. Moments are those of `time.monotonic`.

    Args:
        top: the greatest height that a node had reported when the fault ended.
        ended: when that was.
        healed: when all that it took was undone.
    """

    def __init__(
        self,
        fault: Fault,
        victims: Sequence[Daemon],
        followers: Sequence[Follower],
        top: int,
        ended: float,
        healed: float,
    ) -> None:
        self.times: dict[str, float] = {}
        """Seconds, by the names of report.MEANING; of what is back."""
        self._fault = fault
        self._victims = victims
        self._followers = followers
        self._top = top
        self._ended = ended
        self._healed = healed
        of_kind: dict[str, dict[str, Look]] = {
            "kill": {"kill_to_vote": self._vote},
            "pause": {"pause_to_block": self._block_there},
            "partition": {"heal_to_block": self._block_anywhere},
        }
        self._looks = of_kind.get(fault.kind, {}) | {"heal_to_roots": self._roots}

    def whole(self) -> bool:
        """Look what is back; return whether all is."""
        for name, look in self._looks.items():
            if name not in self.times and (seconds := look()) is not None:
                self.times[name] = seconds
        return self.times.keys() == self._looks.keys()

    def _vote(self) -> float | None:
        return time.monotonic() - self._ended if all(voted(daemon.home) for daemon in self._victims) else None

    def _block_there(self) -> float | None:
        (node,) = self._fault.nodes
        at = self._followers[node].first_after(self._healed)
        return None if at is None else at - self._healed

    def _block_anywhere(self) -> float | None:
        at = self._reached()
        return max(0.0, min(at) - self._healed) if at else None

    def _roots(self) -> float | None:
        at = self._reached()
        return max(0.0, max(at) - self._healed) if len(at) == len(self._followers) else None

    def _reached(self) -> list[float]:
        """When each node that is there was above the height of the fault's end."""
        return [at for follower in self._followers if (at := follower.reached(self._top + 1)) is not None]
