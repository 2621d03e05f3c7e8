"""How long transfers took to be final, in and outside of trouble, in bounded room however long a run is."""

import math
import threading
from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

GROWTH: Final = 1.02
"""Of one bucket to the next: a percentile is within 2 % of what was measured."""
PENDING_MAX: Final = 200_000
"""Transfers of one node that are waited for; the oldest is given up beyond: at 125/s that is half an hour."""


class Distribution(msgspec.Struct, frozen=True):
    samples: int
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class Histogram:
    """Milliseconds in buckets that grow by 2 %."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._samples = 0
        self._max = 0.0

    def add(self, ms: float) -> None:
        self._buckets[math.ceil(math.log(max(ms, 0.1), GROWTH))] += 1
        self._samples += 1
        self._max = max(self._max, ms)

    def distribution(self) -> Distribution:
        if not self._samples:
            return Distribution(0, None, None, None)
        return Distribution(self._samples, self._at(0.50), self._at(0.99), round(self._max, 1))

    def _at(self, share: float) -> float:
        left = math.ceil(self._samples * share)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return round(min(GROWTH**bucket, self._max), 1)
        raise AssertionError(f"{self._samples} samples hold no share of {share}")


class Trouble:
    """When a fault was there or not yet recovered from."""

    def __init__(self) -> None:
        self.since: float | None = None
        self._until = -math.inf

    def begin(self, now: float) -> None:
        self.since = now

    def end(self, now: float) -> None:
        self.since = None
        self._until = now

    def touched(self, began: float) -> bool:
        """Whether there was trouble between then and this moment."""
        return self.since is not None or self._until > began


class Finality:
    """What was submitted at one node and when it reported it final."""

    def __init__(self, trouble: Trouble) -> None:
        self.during = Histogram()
        self.outside = Histogram()
        self.seconds: dict[int, tuple[int, float]] = {}
        """Second of the clock -> how many became final in it, and the longest that one of them took, ms."""
        self.final = 0
        self.given_up = 0
        self._trouble = trouble
        self._lock = threading.Lock()
        self._pending: dict[bytes, float] = {}

    def submitted(self, digests: Iterable[bytes], at: float) -> None:
        """These were handed to the node at this time; one that was handed over before keeps its time."""
        with self._lock:
            for digest in digests:
                self._pending.setdefault(digest, at)
            while len(self._pending) > PENDING_MAX:
                del self._pending[next(iter(self._pending))]
                self.given_up += 1

    def refused(self, digests: Iterable[bytes]) -> None:
        """The node did not take these."""
        with self._lock:
            for digest in digests:
                self._pending.pop(digest, None)

    def reported(self, digests: Iterable[bytes], now: float) -> None:
        """The node reports these as final."""
        with self._lock:
            for digest in digests:
                at = self._pending.pop(digest, None)
                if at is None:
                    continue
                self.final += 1
                ms = (now - at) * 1_000
                (self.during if self._trouble.touched(at) else self.outside).add(ms)
                count, longest = self.seconds.get(int(now), (0, 0.0))
                self.seconds[int(now)] = count + 1, max(longest, ms)

    def pending(self) -> list[bytes]:
        """What was taken and not reported as final by this node."""
        with self._lock:
            return list(self._pending)


def merged(parts: Iterable[Histogram]) -> Histogram:
    """Return one histogram of all."""
    whole = Histogram()
    for part in parts:
        whole._buckets += part._buckets
        whole._samples += part._samples
        whole._max = max(whole._max, part._max)
    return whole
