"""A token bucket: fills continuously to its bound, pays for what happens. The clock is handed in."""

# What the buckets of links and peers hold: two seconds' worth, so that a burst after a quiet spell passes.
BURST_S = 2.0


class TokenBucket:
    """`now` is in seconds of any monotonic clock, the same in every call."""

    __slots__ = ("_at", "_held", "bound", "per_s")

    def __init__(self, per_s: float, bound: float, now: float) -> None:
        assert per_s > 0, f"a bucket that fills at {per_s} a second never pays"
        assert bound > 0, f"a bucket of {bound} never pays"
        self.per_s = per_s
        self.bound = bound
        self._held = bound
        self._at = now

    def holds(self, tokens: float, now: float) -> bool:
        """Whether these are there; none is taken out."""
        return self._filled(now) >= tokens

    def take(self, tokens: float, now: float) -> bool:
        """Take these out if they are there, or nothing."""
        if self._filled(now) < tokens:
            return False
        self._held -= tokens
        return True

    def spend(self, tokens: float, now: float) -> None:
        """Take these out whether or not they are there: what is short is a debt, and fills up first."""
        self._held = self._filled(now) - tokens

    def wait_s(self, now: float) -> float:
        """How long until no debt is left; 0 where there is none."""
        return max(0.0, -self._filled(now) / self.per_s)

    def _filled(self, now: float) -> float:
        self._held = min(self.bound, self._held + max(0.0, now - self._at) * self.per_s)
        self._at = max(self._at, now)
        return self._held
