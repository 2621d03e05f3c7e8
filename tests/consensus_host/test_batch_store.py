"""The store of bodies: chains back to what is executed, and nothing kept below it."""

import pytest
import trio
import trio.testing

from consensus.blocks import Tip
from consensus.dissemination.batches import EMPTY_LANE, BatchHeader, batch_digest
from prsm_node.consensus_host.batch_store import BatchStore

AUTHOR = b"A" * 32
EMPTY = Tip(AUTHOR, 0, EMPTY_LANE)


def chain(length: int, start: bytes = EMPTY_LANE) -> list[BatchHeader]:
    made: list[BatchHeader] = []
    for sequence in range(1, length + 1):
        parent = batch_digest(made[-1]) if made else start
        made.append(BatchHeader(AUTHOR, sequence, parent, bytes([sequence]) * 32))
    return made


def tip_of(header: BatchHeader) -> Tip:
    return Tip(AUTHOR, header.sequence, batch_digest(header))


def test_the_batches_of_who_left_the_set_are_dropped_and_others_stay() -> None:
    store = BatchStore()
    for header in chain(2):
        store.put(header, b"1")
    other = store.put(BatchHeader(b"B" * 32, 1, EMPTY_LANE, b"b" * 32), b"2")
    store.close([AUTHOR])
    assert list(store.all()) == [other]


def test_a_segment_comes_oldest_first_and_names_what_is_missing() -> None:
    first, second, third = chain(3)
    store = BatchStore()
    store.put(first, b"1")
    store.put(third, b"3")
    found, missing = store.segment(tip_of(third), EMPTY)
    assert missing == batch_digest(second)
    store.put(second, b"2")
    found, missing = store.segment(tip_of(third), EMPTY)
    assert (missing, [stored.body for stored in found]) == (None, [b"1", b"2", b"3"])
    found, _ = store.segment(tip_of(third), tip_of(first))
    assert [stored.body for stored in found] == [b"2", b"3"]


def test_a_certified_chain_that_forks_from_what_was_executed_is_a_broken_invariant() -> None:
    rival = chain(1, start=b"x" * 32)[0]
    store = BatchStore()
    store.put(rival, b"r")
    with pytest.raises(AssertionError, match="forks"):
        store.segment(tip_of(rival), EMPTY)


def test_what_is_executed_and_its_rivals_are_forgotten_but_their_place_is_known() -> None:
    headers = chain(3)
    store = BatchStore()
    for position, header in enumerate(headers, start=100):
        store.put(header, b"b").position = position
    store.forget({AUTHOR: tip_of(headers[1])})
    assert len(store) == 1
    assert store.executed_position(batch_digest(headers[0])) == 100
    assert store.oldest_position() == 102


def test_a_body_that_came_unchecked_counts_as_checked_once_it_was() -> None:
    header = chain(1)[0]
    store = BatchStore()
    assert not store.put(header, b"b", checked=False).checked
    assert store.put(header, b"b").checked


async def test_whoever_waits_hears_of_the_next_new_batch(autojump_clock: trio.testing.MockClock) -> None:
    first, second = chain(2)
    store = BatchStore()
    store.put(first, b"1")
    heard: list[str] = []

    async def wait() -> None:
        await store.arrival()
        heard.append("came")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(1)
        store.put(first, b"1")
        await trio.sleep(1)
        assert heard == [], "one that was here already is no news"
        store.put(second, b"2")
    assert heard == ["came"]
