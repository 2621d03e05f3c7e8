"""The bodies of batches that are not executed yet, by digest, with where the journal holds them.

Bounded by the lanes: the replica holds at most 2W batches a lane, and what it does not hold is not stored.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence

import msgspec
import trio

from consensus.blocks import Tip
from consensus.dissemination.batches import BatchHeader, batch_digest
from prsm_node.ledger.execution import Decoded

# Of each of 256 lanes the last 16; an entry is about 200 bytes.
EXECUTED_MAX = 4_096


class StoredBatch(msgspec.Struct):
    header: BatchHeader
    digest: bytes
    body: bytes
    hashes: Sequence[bytes] = ()
    """Of its transactions, where they were taken when the body was checked."""
    decoded: Decoded | None = None
    """The body taken apart, where checking did it."""
    position: int | None = None
    """In the journal; None until it was appended."""
    acknowledging: bool = False
    """Whether our acknowledgement was given to the journal."""
    given_ms: int = 0
    """When our acknowledgement left the last time."""
    acknowledged: bool = False
    """Whether it is durable, so that it may be sent again at once."""
    withheld: bool = False
    """Whether it is ours and not durable yet, so that nobody may have it: a crash would have us sign another
    in its place."""
    checked: bool = True
    """Whether every signature in the body was checked here. Sync brings in some that were not: good enough to
    execute what a quorum decided, never to acknowledge."""


class BatchStore:
    """Bodies of batches above the executed tips."""

    def __init__(self) -> None:
        self._batches: dict[bytes, StoredBatch] = {}
        self._arrived = trio.Event()
        self._executed: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._batches)

    def put(self, header: BatchHeader, body: bytes, *, checked: bool = True) -> StoredBatch:
        """Keep a body; one that is here already stays, and counts as checked if either is."""
        digest = batch_digest(header)
        stored = self._batches.get(digest)
        if stored is None:
            self._arrived.set()
            stored = self._batches[digest] = StoredBatch(header, digest, body, checked=checked)
        stored.checked |= checked
        return stored

    async def arrival(self) -> None:
        """Return when the next new batch is put."""
        if self._arrived.is_set():
            self._arrived = trio.Event()
        await self._arrived.wait()

    def get(self, digest: bytes) -> StoredBatch | None:
        return self._batches.get(digest)

    def all(self) -> Iterable[StoredBatch]:
        return self._batches.values()

    def segment(self, tip: Tip, executed: Tip) -> tuple[list[StoredBatch], bytes | None]:
        """Return the batches above `executed` up to `tip`, oldest first, and the digest that is missing, if
        any."""
        found: list[StoredBatch] = []
        digest, sequence = tip.digest, tip.sequence
        while sequence > executed.sequence:
            stored = self._batches.get(digest)
            if stored is None:
                return found[::-1], digest
            assert stored.header.sequence == sequence, (
                f"batch {sequence} of a lane says {stored.header.sequence}"
            )
            found.append(stored)
            digest, sequence = stored.header.parent, sequence - 1
        assert digest == executed.digest, (
            f"a certified lane forks from what was executed at {executed.sequence}"
        )
        return found[::-1], None

    def drop(self, digest: bytes) -> None:
        """Let go of a batch that nobody holds to."""
        self._batches.pop(digest, None)

    def forget(self, tips: dict[bytes, Tip]) -> None:
        """Drop what lies at or below these tips: executed, or a rival of it."""
        below = [
            digest
            for digest, stored in self._batches.items()
            if (tip := tips.get(stored.header.author)) is not None and stored.header.sequence <= tip.sequence
        ]
        for digest in below:
            stored = self._batches.pop(digest)
            if stored.position is not None:
                self._executed[digest] = stored.position
        while len(self._executed) > EXECUTED_MAX:
            self._executed.popitem(last=False)

    def close(self, authors: Collection[bytes]) -> None:
        """Drop all batches of these authors: their lanes are closed, and nothing of them is ordered any
        more."""
        for digest in [digest for digest, kept in self._batches.items() if kept.header.author in authors]:
            del self._batches[digest]

    def executed_position(self, digest: bytes) -> int | None:
        """Return where the journal holds a batch that was executed lately: a peer a block behind asks for
        it."""
        return self._executed.get(digest)

    def before(self, position: int) -> list[StoredBatch]:
        """Return what the journal holds below a position, oldest first."""
        below = [(kept.position, kept) for kept in self._batches.values() if kept.position is not None]
        return [kept for at, kept in sorted(below, key=lambda pair: pair[0]) if at < position]

    def oldest_position(self) -> int | None:
        """Return the least journal position among what is held."""
        return min((s.position for s in self._batches.values() if s.position is not None), default=None)
