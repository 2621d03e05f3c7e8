"""A validator that signs nothing any more, and lanes that nobody orders, hold back no part of the journal."""

from pathlib import Path

import trio

from consensus.dissemination.batches import BatchHeader, batch_digest
from consensus.guard import Guard, Step
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.records import KeptBatch, RecordKind, encode_record
from prsm_node.consensus_host.signing_journal import SigningJournal
from prsm_node.storage.journal import Journal
from prsm_node.storage.journal_segments import segment_of
from prsm_node.storage.journal_writer import InlineWriter
from tests.consensus_host.hosts import NETWORK, left
from tests.consensus_host.test_kept_proposals import recovered_from

SEGMENT = 4_096
GUARD = Guard(height=3, round=2, step=Step.PRECOMMIT, signed=(b"signed",), locked_round=2, diverged=1)
SIGNED = b"s" * 64


def opened(folder: Path) -> Journal:
    return Journal.open(folder, segment_bytes=SEGMENT, writer=InlineWriter)


def fill(journal: Journal, segments: int) -> None:
    """Write what others sign, as a node does that follows."""
    last = segment_of(journal.end) + segments
    while segment_of(journal.end) < last:
        journal.append(RecordKind.DECISION + 100, bytes(500))


def stored(batches: BatchStore, journal: Journal, sequence: int) -> bytes:
    header = BatchHeader(b"a" * 32, sequence, b"p" * 32, bytes([sequence]) * 32, bytes(64))
    kept = batches.put(header, bytes(100))
    kept.position = journal.append(RecordKind.BATCH, encode_record(KeptBatch(kept.header, SIGNED, kept.body)))
    return batch_digest(header)


def silent(journal: Journal, position: int | None, batches: BatchStore) -> SigningJournal:
    """What a run goes on with that found this guard there and signs nothing."""
    kept = SigningJournal(journal, batches, Checks(NETWORK), left(GUARD, position), None, 9)
    journal.on_new_segment = kept.carry_over
    kept.carry_over()
    return kept


async def test_a_silent_validators_guard_goes_on_with_the_journal_and_old_segments_can_go(
    tmp_path: Path,
) -> None:
    journal, batches = opened(tmp_path), BatchStore()
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        position = journal.append(RecordKind.GUARD, encode_record(GUARD))
        digests = [stored(batches, journal, sequence) for sequence in range(1, 4)]
        kept = silent(journal, position, batches)
        assert kept.needed_from(9) == position, "one that is young is where it was"
        fill(journal, 20)
        needed = [kept.needed_from(9), batches.oldest_position()]
        begin = min(position for position in needed if position is not None)
        assert segment_of(begin) >= segment_of(journal.end) - 2, "a restart would read all of it"
        await journal.flush()
        assert journal.drop_before(begin) >= 18
        nursery.cancel_scope.cancel()
    journal = opened(tmp_path)
    recovered = await recovered_from(journal, None)
    assert recovered.guard == GUARD
    assert recovered.acknowledged == dict.fromkeys(digests, SIGNED)
    journal.close()


async def test_a_run_that_finds_an_old_guard_brings_it_forward_before_any_segment_begins(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        old = journal.append(RecordKind.GUARD, encode_record(GUARD))
        fill(journal, 5)
        kept = silent(journal, old, BatchStore())
        assert kept.needed_from(9) != old
        end = journal.end
        kept.carry_over()
        assert journal.end == end, "once is enough"
        nursery.cancel_scope.cancel()


async def test_a_guard_whose_copy_a_loss_of_power_took_is_where_it_was(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        old = journal.append(RecordKind.GUARD, encode_record(GUARD))
        fill(journal, 5)
        await journal.flush()
        nursery.cancel_scope.cancel()
    journal = opened(tmp_path)
    assert silent(journal, old, BatchStore()).needed_from(9) != old, "queued, and on no disk"
    journal.close()
    journal = opened(tmp_path)
    recovered = await recovered_from(journal, old)
    assert (recovered.guard, recovered.guard_position) == (GUARD, old)
    journal.close()


async def test_lanes_that_hold_more_than_may_be_carried_at_once_follow_bit_by_bit(
    tmp_path: Path,
) -> None:
    journal, batches = opened(tmp_path), BatchStore()
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        for sequence in range(1, 9):
            header = BatchHeader(b"a" * 32, sequence, b"p" * 32, bytes([sequence]) * 32, bytes(64))
            kept = batches.put(header, bytes(1 << 20))
            record = encode_record(KeptBatch(kept.header, SIGNED, kept.body))
            kept.position = journal.append(RecordKind.BATCH, record)
        first = batches.oldest_position()
        assert first is not None
        silent(journal, None, batches)
        fill(journal, 1)
        assert len(batches.before(journal.begin + (4 << 32))) == 0, "two go with each segment"
        assert len(batches.before(journal.begin + (8 << 32))) > 0
        fill(journal, 20)
        assert not batches.before(journal.begin + (8 << 32))
        nursery.cancel_scope.cancel()
