"""What one link may bring: a token bucket of messages and one of bytes for each kind (wire/kinds.py).

A bucket is filled continuously and holds two seconds' worth. The clock is handed in.
"""

from prsm_node.wire.kinds import KINDS, Kind

BURST_S = 2.0


class Rates:
    """The buckets of one link."""

    def __init__(self, now: float) -> None:
        """`now`: seconds of any monotonic clock, the same that admit() is given."""
        self._buckets = {
            kind: [rules.messages_per_s * BURST_S, rules.bytes_per_s * BURST_S, now]
            for kind, rules in KINDS.items()
        }

    def admit(self, kind: Kind, messages: int, size: int, now: float) -> bool:
        """Whether the link may bring these now; they are taken out of its buckets only if so."""
        rules, bucket = KINDS[kind], self._buckets[kind]
        elapsed = max(0.0, now - bucket[2])
        bucket[2] = now
        bucket[0] = min(bucket[0] + elapsed * rules.messages_per_s, rules.messages_per_s * BURST_S)
        bucket[1] = min(bucket[1] + elapsed * rules.bytes_per_s, rules.bytes_per_s * BURST_S)
        if bucket[0] < messages or bucket[1] < size:
            return False
        bucket[0] -= messages
        bucket[1] -= size
        return True
