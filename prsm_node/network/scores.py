"""Faults and what they cost: a score a node, which decays to 0; who falls to the bound is banned (bans.py).

A score belongs to a node key and not to a link, so that hanging up does not clean it. Faults that no correct
node ever commits cost a quarter of the bound or more; those that a slow network can cause cost little.
"""

from collections import Counter, OrderedDict

import msgspec

HALF_LIFE_S = 60.0
BANNED_BELOW = -100.0
# 4,096 nodes x about 300 bytes = 1.2 MB; the one that was heard of least recently is forgotten.
NODES_MAX = 4_096
COST = {
    "garbage": 50.0,
    "truncated": 50.0,
    "oversized": 50.0,
    "trailing_bytes": 50.0,
    "wrong_version": 50.0,
    "wrong_network": 50.0,
    "wrong_sender": 50.0,
    "wrong_signature": 50.0,
    "malformed_payload": 34.0,
    "unknown_kind": 10.0,  # a newer peer may know more kinds
    "unknown_topic": 10.0,
    "replayed": 34.0,
    "over_rate": 2.0,  # 50 refused frames; each costs us a decode, no signature check
    "not_greeted": 50.0,
    "late_greeting": 10.0,  # who has no core to itself is late, or we are: no validator is known before it
    "wrong_session_proof": 100.0,
    "unasked_response": 10.0,
    "requests_over_bound": 2.0,
    "answers_over_budget": 2.0,
    "late_answer": 1.0,
    "sync.unproven_height": 10.0,
    "sync.untrusted": 10.0,  # it may be our operator's trust that is wrong
    "sync.block": 50.0,
    "sync.header": 50.0,
    "sync.certificate": 50.0,
    "sync.batch": 50.0,
    "wrong_answer": 25.0,
    "stalled": 5.0,
    "silent": 5.0,
    "handler_failed": 10.0,
    "costs_too_much": 25.0,  # held back for long: the fourth time is the last (cpu_budget.py)
    "stream_flood": 100.0,
    "held_too_much": 100.0,
    "held_most": 10.0,  # when all together held too much: it may keep to its windows
}
COST_OTHER = 25.0
"""Of a reason that a room names itself: forged votes, invalid batches and their like."""


class _Record(msgspec.Struct):
    score: float
    at: float


class Scores:
    """Scores of nodes, and counts of every reason."""

    def __init__(self) -> None:
        self._records: OrderedDict[bytes, _Record] = OrderedDict()
        self.faults: Counter[str] = Counter()
        """How often each reason was given, over all nodes."""

    def fault(self, node_key: bytes, reason: str, now: float) -> bool:
        """Count a fault; return whether the node has now had its last."""
        self.faults[reason] += 1
        record = self._records.pop(node_key, None) or _Record(0.0, now)
        record.score = _decayed(record, now) - COST.get(reason, COST_OTHER)
        record.at = now
        over = record.score <= BANNED_BELOW
        if over:
            # On probation after the ban: half of the bound is left.
            record.score = BANNED_BELOW / 2
        self._records[node_key] = record
        while len(self._records) > NODES_MAX:
            self._records.popitem(last=False)
        return over

    def score(self, node_key: bytes, now: float) -> float:
        """0 at best, banned at BANNED_BELOW."""
        record = self._records.get(node_key)
        return 0.0 if record is None else _decayed(record, now)

    def forget(self, node_key: bytes) -> None:
        """Begin anew with a node."""
        self._records.pop(node_key, None)


def _decayed(record: _Record, now: float) -> float:
    return float(record.score * 0.5 ** (max(0.0, now - record.at) / HALF_LIFE_S))
