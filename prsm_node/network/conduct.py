"""How peers behave and what follows: faults are scored, what they cost is charged, and the worst are banned.

A ban is an alert: a warning in the log that names who, why and until when. What it changes for links that
stand is links.py's.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime

import structlog
import trio

from prsm_node.network.addresses import node_key_of
from prsm_node.network.bans import Ban, Bans
from prsm_node.network.cpu_budget import CpuBudget
from prsm_node.network.scores import Scores
from prsm_node.token_bucket import TokenBucket

log = structlog.get_logger("network")

# A crowd of bad keys is one story: after twenty lines one a second, which says how many there were besides.
ALERTS_PER_S, ALERTS_BURST = 1.0, 20.0


class Conduct:
    """What is held against each node."""

    def __init__(
        self,
        ban_s: float,
        clock: Callable[[], float],
        now_ms: Callable[[], int],
        could_be_faulty: Callable[[Collection[bytes]], bool] = lambda validators: True,
    ) -> None:
        """`clock` is monotonic, seconds; `now_ms` the wall clock, Unix milliseconds. `could_be_faulty` says
        whether these validators may all be faulty at once."""
        self.scores = Scores()
        self.bans = Bans(ban_s)
        self.cpu = CpuBudget()
        self._clock = clock
        self._now_ms = now_ms
        self._could_be_faulty = could_be_faulty
        self._suspects: dict[bytes, float] = {}
        """Validator banned -> until when."""
        self._alerts = TokenBucket(ALERTS_PER_S, ALERTS_BURST, clock())
        self._untold = 0
        self.changed = trio.Event()
        """Set when a ban was made or lifted; whoever keeps the bans puts another in its place."""

    def fault(self, node_key: bytes, reason: str, host: str, validator: bytes | None) -> bool:
        """Count a fault; return whether the node is banned with this one.

        `host`: the IP address that the node was seen at, "" for unknown. `validator`: its key, if it is of
        the set. Not more of these are banned at once than can be faulty: beyond that the error is ours, and
        a node that bans the honest has cut itself off.
        """
        now = self._clock()
        if self.bans.node_banned(node_key, now):
            # The rest of what it sent before: one offence, however many messages a frame has.
            self.scores.faults[reason] += 1
            return True
        if not self.scores.fault(node_key, reason, now) or self._is_spared(validator, reason, now):
            return False
        made = self.bans.ban_node(node_key, reason, host, validator is not None, now, self._now_ms())
        if validator is not None:
            self._suspects[validator] = now + (made[0].until_ms - made[0].since_ms) / 1000
        for ban in made:
            self._alert(
                "peer_banned",
                who=ban.who,
                why=ban.why,
                address=host,
                offences=ban.offences,
                until=datetime.fromtimestamp(ban.until_ms // 1000, UTC).isoformat(),
            )
        self.changed.set()
        return True

    def _is_spared(self, validator: bytes | None, reason: str, now: float) -> bool:
        if validator is None:
            return False
        self._suspects = {key: until for key, until in self._suspects.items() if until > now}
        if self._could_be_faulty({*self._suspects, validator}):
            return False
        self._alert("too_many_suspects", validator=validator, why=reason, remedy="it is not banned")
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

    def _alert(self, event: str, **fields: object) -> None:
        if not self._alerts.take(1, self._clock()):
            self._untold += 1
            return
        log.warning(event, alert=True, **fields, **({"untold": self._untold} if self._untold else {}))
        self._untold = 0
