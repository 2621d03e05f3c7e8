"""Authors this validator's lane: seals a batch when one is due and the lane has room (PROTOCOL, Lanes 4)."""

from collections.abc import Callable
from typing import Protocol

import trio

from prsm_node.consensus_host.host import ConsensusHost


class Sealed(Protocol):
    @property
    def body(self) -> bytes: ...

    @property
    def digest(self) -> bytes: ...

    @property
    def hashes(self) -> tuple[bytes, ...]: ...


class Source(Protocol):
    """What an author needs of the mempool."""

    def batch_due(self, now_ms: int, outstanding: int) -> int | None:
        """In how many ms to seal; None while nothing is ready."""

    def batch_bytes(self, outstanding: int) -> int: ...

    def seal(self, bytes_max: int) -> Sealed | None: ...


class Author:
    """One task; `wake` says that something may have become due or that the lane may have room."""

    def __init__(self, host: ConsensusHost, source: Source, now_ms: Callable[[], int]) -> None:
        self._host = host
        self._source = source
        self._now_ms = now_ms
        self._woken = trio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        while True:
            self._woken = trio.Event()
            delay_ms = self._delay()
            if delay_ms == 0:
                self._seal()
                await trio.lowlevel.checkpoint()
                continue
            with trio.move_on_after(float("inf") if delay_ms is None else delay_ms / 1000):
                await self._woken.wait()

    def _delay(self) -> int | None:
        lanes = self._host.replica.lanes
        if not self._host.replica.voting or lanes.room() <= 0:
            return None
        return self._source.batch_due(self._now_ms(), lanes.outstanding())

    def _seal(self) -> None:
        sealed = self._source.seal(self._source.batch_bytes(self._host.replica.lanes.outstanding()))
        if sealed is not None:
            self._host.casting.seal(sealed.digest, sealed.body, sealed.hashes)
