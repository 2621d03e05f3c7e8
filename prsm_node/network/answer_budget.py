"""How many bytes peers may make this node send: answers to what they ask and gossip that they want repaired.

A question of 40 bytes may cost us 4 MiB, so what is sent for a peer's asking is paid from token buckets. Each
node has one, and all who are no validators share another, for keys cost nothing. Who is in debt waits, and is
refused where that would take too long. A bucket belongs to a node key and not to a link, so that hanging up
does not fill it. What we send of ourselves (votes, batches, news) is bounded by the links' queues.
"""

from collections import OrderedDict

import msgspec

from prsm_node.token_bucket import BURST_S, TokenBucket

MIB = 1024 * 1024


class AnswerBytes(msgspec.Struct, frozen=True, kw_only=True):
    """What each class of peers may be sent for its asking, bytes a second."""

    # A validator that was away fetches batches while the rest goes on: 84 MB/s is what a stream carries at
    # least, and three quarters of it leave room for the round's own traffic.
    validator_per_s: int = 64 * MIB
    # A late starter that syncs 200 full blocks/s, 500 transfers of 250 bytes each, takes 25 MB/s.
    stranger_per_s: int = 32 * MIB
    # Two such at full speed, or 64 strangers at 1 MiB/s: 537 Mbit/s, half of a gigabit line.
    strangers_per_s: int = 64 * MIB


# A question that had to wait so long is refused: its asker gave it up (sync after 5 s, a fetch after 1 s).
WAIT_MAX_S = 5.0
# The least that anything sent is charged: its frame with signature.
CHARGE_MIN = 1_024
# The least that an answer is charged, for the core's time and not for the line: a task, what is looked for, a
# reply; 64 blocks where it is a silent key's last vote, 0.2 ms. All strangers together get 1,024 a second at
# that, 0.3 of a core; a node that syncs 3,000 blocks/s asks 50 times.
ANSWER_MIN = 64 * 1_024
# 1,024 buckets x about 200 bytes; the one that was used least recently is forgotten, and is full again.
NODES_MAX = 1_024


class AnswerBudget:
    """The buckets of all nodes. `now`: seconds of any monotonic clock, the same in every call."""

    def __init__(self, limits: AnswerBytes) -> None:
        self._limits = limits
        self._nodes: OrderedDict[tuple[bytes, bool], TokenBucket] = OrderedDict()
        self._strangers = TokenBucket(limits.strangers_per_s, limits.strangers_per_s * BURST_S, now=0.0)

    def wait_s(self, node_key: bytes, validator: bool, now: float) -> float:
        """How long this node waits for its next answer; 0: it may have it now."""
        own = self._bucket(node_key, validator, now).wait_s(now)
        return own if validator else max(own, self._strangers.wait_s(now))

    def in_debt(self, node_key: bytes, validator: bool, now: float) -> bool:
        """Whether it waits for what it had itself, and not only for what other strangers had."""
        return self._bucket(node_key, validator, now).wait_s(now) > 0.0

    def charge(self, node_key: bytes, validator: bool, size: int, now: float) -> None:
        """These bytes are sent to the node for its asking."""
        size = max(size, CHARGE_MIN)
        self._bucket(node_key, validator, now).spend(size, now)
        if not validator:
            self._strangers.spend(size, now)

    def _bucket(self, node_key: bytes, validator: bool, now: float) -> TokenBucket:
        key = (node_key, validator)
        bucket = self._nodes.pop(key, None)
        if bucket is None:
            per_s = self._limits.validator_per_s if validator else self._limits.stranger_per_s
            bucket = TokenBucket(per_s, per_s * BURST_S, now)
        self._nodes[key] = bucket
        if len(self._nodes) > NODES_MAX:
            self._nodes.popitem(last=False)
        return bucket
