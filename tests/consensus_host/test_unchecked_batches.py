"""What sync stored without a check is good to execute, never to acknowledge, whichever way it comes again."""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import trio
import trio.testing

from consensus.dissemination.batches import EMPTY_LANE, BatchHeader, CheckedBatch, batch_digest
from consensus.dissemination.lanes import Lanes
from consensus.effects import CastAcknowledgement
from consensus.guard import Guard
from consensus.inputs import BatchReceived, Input
from consensus.validators import ValidatorSet
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.inbound import BATCHES_OF_ONE, Inbound
from prsm_node.consensus_host.recovery import Recovered, restore_lanes
from prsm_node.ledger.transactions import Transaction
from prsm_node.wire.payloads import Batch

ME, AUTHOR = b"M" * 32, b"A" * 32
BODY = b"\x90"
HEADER = BatchHeader(AUTHOR, 1, EMPTY_LANE, sha256(BODY).digest(), b"s" * 64)
LINK = 7


class Fault(IntEnum):
    NONE = 0
    SIGNATURE = 1


class Found(msgspec.Struct):
    good: bool
    fault: Fault
    hashes: Sequence[bytes] = ()
    transactions: Sequence[Transaction] = ()


class CountingBodies:
    """The mempool's check, its answer fixed."""

    def __init__(self, good: bool) -> None:
        self.checks = 0
        self.transactions: Sequence[Transaction] = ()
        self._good = good

    async def check_body(self, body: bytes, spent_allowed: bool) -> Found:
        self.checks += 1
        return Found(self._good, Fault.NONE if self._good else Fault.SIGNATURE, (), self.transactions)

    def certified(self, hashes: Iterable[bytes]) -> None:
        """No certificate comes here."""


class LaneHost:
    """A host of real lanes, which notes what it is asked to acknowledge."""

    def __init__(self) -> None:
        self.lanes = Lanes(ME, ValidatorSet([(ME, 1), (AUTHOR, 1)]), 4, 4)
        self.lanes.allow_acknowledging()
        self.replica = SimpleNamespace(lanes=self.lanes)
        self.checks = SimpleNamespace(batch=lambda header: True)
        self.acknowledged: list[bytes] = []

    def feed(self, happened: Input) -> None:
        assert isinstance(happened, BatchReceived)
        for effect in self.lanes.receive_batch(happened.batch, happened.link):
            assert isinstance(effect, CastAcknowledgement)
            self.acknowledged.append(effect.acknowledgement.digest)

    def keeps_batch(self, header: BatchHeader, digest: bytes) -> bool:
        return self.lanes.keeps(header.author, digest)


class Faults:
    """Who is at fault more than twice is banned."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.charged = 0

    def links(self) -> list[int]:
        return [LINK] if len(self.names) < 3 else []

    def checked(self, link: int, signatures: int) -> None:
        self.charged += signatures

    def fault(self, link: int, name: str) -> None:
        self.names.append(name)


@pytest.mark.parametrize("fetched", [False, True])
@pytest.mark.parametrize("good", [False, True])
async def test_a_batch_that_sync_stored_is_acknowledged_only_after_its_check(
    good: bool, fetched: bool
) -> None:
    store, host, bodies, faults = BatchStore(), LaneHost(), CountingBodies(good), Faults()
    store.put(HEADER, BODY, checked=False)
    inbound = Inbound(cast(Any, host), store, cast(Any, bodies), cast(Any, faults), lambda _: True)
    if fetched:
        await inbound.fetched_batch(LINK, batch_digest(HEADER), Batch(HEADER, BODY))
    else:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inbound.run)
            inbound.on_batches(LINK, [Batch(HEADER, BODY)])
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert bodies.checks == 1
    assert host.acknowledged == ([batch_digest(HEADER)] if good else [])
    assert faults.names == ([] if good else ["batch.body: signature"])


async def test_one_authors_batches_keep_out_no_others_and_go_unchecked_once_it_is_banned() -> None:
    """Two at each place of its lane, of whatever body, cost it a signature, and us the check of a body."""
    store, host, bodies, faults = BatchStore(), LaneHost(), CountingBodies(good=False), Faults()
    inbound = Inbound(cast(Any, host), store, cast(Any, bodies), cast(Any, faults), lambda _: True)
    made = [str(number).encode() for number in range(3 * BATCHES_OF_ONE)]
    flood = [Batch(BatchHeader(AUTHOR, 1, EMPTY_LANE, sha256(body).digest()), body) for body in made]
    inbound.on_batches(LINK, flood)
    assert inbound.counters["batches_dropped"] == 2 * BATCHES_OF_ONE
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbound.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert bodies.checks == 3
    assert not inbound._checking_of


def test_a_restart_gives_the_lanes_only_what_was_checked() -> None:
    store = BatchStore()
    store.put(HEADER, BODY, checked=False)
    child = BatchHeader(AUTHOR, 2, batch_digest(HEADER), sha256(BODY).digest(), b"s" * 64)
    lanes = LaneHost().lanes
    restore_lanes(lanes, store, Recovered(Guard(), None, [], {}, {}), ME)
    effects = lanes.receive_batch(CheckedBatch(child), LINK)
    assert not any(isinstance(effect, CastAcknowledgement) for effect in effects), (
        "to acknowledge the child is to vouch for its parent"
    )


def test_a_restart_remembers_each_sequence_that_our_own_lane_used() -> None:
    own = BatchHeader(ME, 1, EMPTY_LANE, sha256(BODY).digest(), b"s" * 64)
    store = BatchStore()
    store.put(own, BODY, checked=False)
    lanes = LaneHost().lanes
    restore_lanes(lanes, store, Recovered(Guard(), None, [], {}, {}), ME)
    [cast_batch] = lanes.seal(b"b" * 32)
    assert cast(Any, cast_batch).header.sequence == 2


@pytest.mark.parametrize("fetched", [False, True])
async def test_who_gives_what_it_was_asked_for_is_charged_nothing_for_our_checks_of_it(
    fetched: bool,
) -> None:
    """Or an honest peer is banned as too costly for the 32 MB that we lacked and asked it for."""
    store, host, bodies, faults = BatchStore(), LaneHost(), CountingBodies(good=True), Faults()
    bodies.transactions = (cast(Transaction, object()),)
    inbound = Inbound(cast(Any, host), store, cast(Any, bodies), cast(Any, faults), lambda _: True)
    if fetched:
        await inbound.fetched_batch(LINK, batch_digest(HEADER), Batch(HEADER, BODY))
    else:
        await inbound._check_batch(LINK, Batch(HEADER, BODY))
    assert faults.charged == (0 if fetched else 1)
