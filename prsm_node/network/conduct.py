"""How peers behave and what follows: faults are scored, what they cost is charged, and the worst are banned.

A ban is an alert: a warning in the log that names who, why and until when. What it changes for links that
stand is links.py's.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import structlog
import trio

from prsm_node.network.addresses import node_key_of
from prsm_node.network.bans import Ban, Bans
from prsm_node.network.cpu_budget import CpuBudget
from prsm_node.network.scores import Scores
from prsm_node.network.token_bucket import TokenBucket

log = structlog.get_logger("network")

# A crowd of bad keys is one story: after twenty lines one a second, which says how many there were besides.
ALERTS_PER_S, ALERTS_BURST = 1.0, 20.0


class Conduct:
    """What is held against each node."""

    def __init__(self, ban_s: float, clock: Callable[[], float], now_ms: Callable[[], int]) -> None:
        """`clock` is monotonic, seconds; `now_ms` the wall clock, Unix milliseconds."""
        self.scores = Scores()
        self.bans = Bans(ban_s)
        self.cpu = CpuBudget()
        self._clock = clock
        self._now_ms = now_ms
        self._alerts = TokenBucket(ALERTS_PER_S, ALERTS_BURST, clock())
        self._untold = 0
        self.changed = trio.Event()
        """Set when a ban was made or lifted; whoever keeps the bans puts another in its place."""

    def fault(self, node_key: bytes, reason: str, host: str, validator: bool) -> bool:
        """Count a fault; return whether the node is banned with this one.

        `host`: the IP address that the node was seen at, "" for unknown; `validator`: of the set.
        """
        now = self._clock()
        if self.bans.node_banned(node_key, now):
            # The rest of what it sent before: one offence, however many messages a frame has.
            self.scores.faults[reason] += 1
            return True
        if not self.scores.fault(node_key, reason, now):
            return False
        for ban in self.bans.ban_node(node_key, reason, host, validator, now, self._now_ms()):
            self._alert(ban, host)
        self.changed.set()
        return True

    def node_banned(self, node_key: bytes) -> bool:
        return self.bans.node_banned(node_key, self._clock())

    def place_banned(self, host: str) -> bool:
        return self.bans.place_banned(host, self._clock())

    def score(self, node_key: bytes) -> float:
        return self.scores.score(node_key, self._clock())

    def banned(self) -> list[Ban]:
        """Return the bans in force."""
        return self.bans.listed(self._clock())

    def unban(self, who: str) -> bool:
        """Lift a ban by what it lists; False where none such is in force."""
        lifted = self.bans.lift(who, self._clock())
        with suppress(ValueError):  # a place has no score
            self.scores.forget(node_key_of(who))
        self.changed.set()
        if lifted:
            log.info("ban_lifted", who=who)
        return lifted

    def restore(self, bans: tuple[Ban, ...]) -> None:
        """Take up what an earlier run remembered."""
        self.bans.restore(bans, self._clock(), self._now_ms())

    def _alert(self, ban: Ban, host: str) -> None:
        if not self._alerts.take(1, self._clock()):
            self._untold += 1
            return
        log.warning(
            "peer_banned",
            alert=True,
            who=ban.who,
            why=ban.why,
            address=host,
            offences=ban.offences,
            until=datetime.fromtimestamp(ban.until_ms // 1000, UTC).isoformat(),
            **({"untold": self._untold} if self._untold else {}),
        )
        self._untold = 0
