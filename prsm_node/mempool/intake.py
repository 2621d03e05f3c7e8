"""Transactions that peers hand on: queued within a bound, admitted by one task."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import trio

from prsm_node.mempool.admission import Admission, Reason
from prsm_node.mempool.pool import Mempool

# Two seconds at the ceiling, in transactions of 250 bytes or in fewer large ones. What finds it full is
# dropped; the node that accepted a transaction keeps it and hands it on again.
INTAKE = 256
INTAKE_BYTES = 8 << 20
# So that the signature worker has a batch to check while answers travel.
AT_ONCE = 4
FAULTS = {Reason.MALFORMED, Reason.WRONG_SIGNATURE}


CHECKED = {Reason.ACCEPTED, Reason.WRONG_SIGNATURE}
NO_ROOM = {Reason.FULL, Reason.SOURCE_SHARE}


def _nothing() -> None:
    """Nobody waits for what becomes of it."""


class _Taken(NamedTuple):
    link: int
    raws: list[bytes]
    by: bytes | None
    admitted: Callable[[], None]
    no_room: Callable[[], None]


Checked = Callable[[int, int], None]
"""(link, signatures): so many were checked because of what a peer handed on."""
Fault = Callable[[int, str], None]
"""(link, reason): a peer handed on what no honest peer takes."""


class Intake:
    """Takes what links bring without making them wait."""

    def __init__(self, mempool: Mempool, fault: Fault, checked: Checked) -> None:
        self.dropped = 0
        self._mempool = mempool
        self._fault = fault
        self._checked = checked
        self._bytes = 0
        self._send, self._receive = trio.open_memory_channel[_Taken](INTAKE)

    def take(
        self,
        link: int,
        raws: Sequence[bytes],
        admitted: Callable[[], None] = _nothing,
        no_room: Callable[[], None] = _nothing,
        by: bytes | None = None,
    ) -> None:
        """Queue them; `admitted` is called once if one of them was new and good, and none is bad, those that
        were refused unchecked included: others' books differ from ours, and they would find it and blame us.
        `no_room` is called if one was not judged, here or in this link's share; `by` as in Mempool.submit."""
        size = sum(map(len, raws))
        if self._bytes + size > INTAKE_BYTES:
            self.dropped += len(raws)
            no_room()
            return
        try:
            self._send.send_nowait(_Taken(link, list(raws), by, admitted, no_room))
            self._bytes += size
        except trio.WouldBlock:
            self.dropped += len(raws)
            no_room()

    async def run(self) -> None:
        """Own the admission of what peers bring."""
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(self._admit)

    async def _admit(self) -> None:
        async for link, raws, by, admitted, no_room in self._receive:
            try:
                admissions = await self._mempool.submit(raws, link, by)
            finally:
                self._bytes -= sum(map(len, raws))
            self._checked(link, sum(admission.reason in CHECKED for admission in admissions))
            bad = [admission.reason for admission in admissions if admission.reason in FAULTS]
            for reason in bad:
                self._fault(link, f"transaction.{reason.name.lower()}")
            goes_on = admitted is not _nothing and any(admission.accepted for admission in admissions)
            if goes_on and not bad and await self._sound(link, raws, admissions):
                admitted()
            if any(admission.reason in NO_ROOM for admission in admissions):
                no_room()

    async def _sound(self, link: int, raws: Sequence[bytes], admissions: Sequence[Admission]) -> bool:
        """Whether those too that the books refused are transactions and signed; what is not is the link's
        fault."""
        refused = [raw for raw, admission in zip(raws, admissions, strict=True) if not admission.accepted]
        bad, checked = await self._mempool.forged(refused)
        self._checked(link, checked)
        for reason in bad:
            self._fault(link, f"transaction.{reason.name.lower()}")
        return not bad
