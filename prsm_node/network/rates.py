"""What one link may bring: a token bucket of messages and one of bytes for each kind (wire/kinds.py)."""

from prsm_node.token_bucket import BURST_S, TokenBucket
from prsm_node.wire.kinds import KINDS, Kind


class Rates:
    """The buckets of one link."""

    def __init__(self, now: float) -> None:
        """`now`: seconds of any monotonic clock, the same that admit() is given."""
        self._messages = {
            kind: TokenBucket(rules.messages_per_s, rules.messages_per_s * BURST_S, now)
            for kind, rules in KINDS.items()
        }
        self._bytes = {
            kind: TokenBucket(rules.bytes_per_s, rules.bytes_per_s * BURST_S, now)
            for kind, rules in KINDS.items()
        }

    def admit(self, kind: Kind, messages: int, size: int, now: float) -> bool:
        """Whether the link may bring these now; they are taken out of its buckets only if so."""
        return self._bytes[kind].holds(size, now) and (
            self._messages[kind].take(messages, now) and self._bytes[kind].take(size, now)
        )
