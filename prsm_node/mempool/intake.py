"""Transactions that peers hand on: queued within a bound, admitted by one task."""

from collections import Counter
from collections.abc import Sequence

import trio

from prsm_node.mempool.admission import Reason
from prsm_node.mempool.pool import Mempool

# Frames of up to 64 KB: 16 MB, two seconds at the ceiling. What finds it full is dropped; the node that
# accepted a transaction keeps it and hands it on again.
INTAKE = 256
# So that the signature worker has a batch to check while answers travel.
AT_ONCE = 4
FAULTS = {Reason.MALFORMED, Reason.WRONG_SIGNATURE}


class Intake:
    """Takes what links bring without making them wait."""

    def __init__(self, mempool: Mempool) -> None:
        self.dropped = 0
        self.faults: Counter[int] = Counter()
        """By link, since it was last asked for: transactions that no honest peer hands on."""
        self._mempool = mempool
        self._send, self._receive = trio.open_memory_channel[tuple[int, list[bytes]]](INTAKE)

    def take(self, link: int, raws: Sequence[bytes]) -> None:
        try:
            self._send.send_nowait((link, list(raws)))
        except trio.WouldBlock:
            self.dropped += len(raws)

    async def run(self) -> None:
        """Own the admission of what peers bring."""
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(self._admit)

    async def _admit(self) -> None:
        async for link, raws in self._receive:
            for admission in await self._mempool.submit(raws, link):
                if admission.reason in FAULTS:
                    self.faults[link] += 1
