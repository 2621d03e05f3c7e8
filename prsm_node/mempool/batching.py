"""When a batch closes: at once after a quiet spell, later and larger the more of them are on their way.

A batch costs nine frames besides its own three (acknowledgements, certificates) of 0.2 ms and more at each
end, and as many signatures, whatever it holds. So while earlier batches of this lane lack their certificate
the next one waits longer and grows: a busy network certifies slowly, hence batches less and larger. Pure:
time is an argument.
"""

from typing import NamedTuple

CLOSE_MS = 10
CLOSE_BYTES = 64_000  # below one stream write of 65,000 bytes
GROWN_BYTES = 256_000
PATIENCE_MS = 100  # for each batch on its way; a certificate takes 15 ms at rest and 100 under load
GROWN_MS = 300
SPACED_MS = 100  # between batches of a lane that has many transactions, however quickly they are certified
MANY_BYTES = 1_000  # four transfers or more in a batch


class Sealed(NamedTuple):
    """A closed body of this node's lane."""

    body: bytes
    """msgpack list of raw transactions."""
    digest: bytes
    """SHA-256 of the body."""
    transactions: int
    hashes: tuple[bytes, ...]
    """Of each transaction, in order."""


class BatchClock:
    """Tells when the transactions that are ready should leave."""

    def __init__(self) -> None:
        self.ready_bytes = 0
        self._oldest_ms: int | None = None
        self._sealed_ms: int | None = None
        self._sealed_bytes = 0

    def queued(self, now_ms: int, size: int) -> None:
        self.ready_bytes += size
        if self._oldest_ms is None:
            self._oldest_ms = now_ms

    def removed(self, size: int) -> None:
        """Ready ones left otherwise than by a batch."""
        self.ready_bytes -= size
        assert self.ready_bytes >= 0, f"{self.ready_bytes} bytes ready"
        if not self.ready_bytes:
            self._oldest_ms = None

    def sealed(self, now_ms: int, size: int) -> None:
        self.removed(size)
        self._sealed_ms = now_ms
        self._sealed_bytes = size
        if self.ready_bytes:
            self._oldest_ms = now_ms

    @staticmethod
    def bytes_wanted(outstanding: int) -> int:
        """At what size a batch closes while `outstanding` own ones lack their certificate."""
        return min(CLOSE_BYTES * (1 + outstanding), GROWN_BYTES)

    def due(self, now_ms: int, outstanding: int) -> int | None:
        """Return in how many milliseconds to seal, 0 for now, None while nothing is ready."""
        if self._oldest_ms is None:
            return None
        if self.ready_bytes >= self.bytes_wanted(outstanding):
            return 0
        since_ms = GROWN_MS if self._sealed_ms is None else now_ms - self._sealed_ms
        spaced_ms = SPACED_MS - since_ms if self._sealed_bytes >= MANY_BYTES else 0
        if since_ms >= CLOSE_MS and not outstanding and spaced_ms <= 0:
            return 0
        waits_ms = min(PATIENCE_MS * outstanding, GROWN_MS) if outstanding else CLOSE_MS
        return max(0, self._oldest_ms + waits_ms - now_ms, spaced_ms)
