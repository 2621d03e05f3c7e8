"""The journal keeps what it acknowledged, cuts what it never promised, and says which of the two it found."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from prsm_node.storage.errors import StorageError
from prsm_node.storage.journal import GATHER_BYTES, GATHER_S, Journal, JournalFull
from prsm_node.storage.journal_segments import RECORD_HEADER_BYTES, RECORD_MAGIC, SEGMENT_HEADER
from prsm_node.storage.journal_writer import InlineWriter

SEGMENT = 1 << 16


def open_journal(directory: Path, segment_bytes: int = SEGMENT, queue_bytes_max: int = 1 << 20) -> Journal:
    return Journal.open(directory, segment_bytes, queue_bytes_max=queue_bytes_max, reserve_bytes=0)


@asynccontextmanager
async def running(journal: Journal) -> AsyncIterator[Journal]:
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        yield journal
        nursery.cancel_scope.cancel()


async def write(directory: Path, payloads: list[bytes], segment_bytes: int = SEGMENT) -> list[int]:
    """Append, flush and close; return the positions."""
    async with running(open_journal(directory, segment_bytes)) as journal:
        positions = [journal.append(7, payload) for payload in payloads]
        await journal.flush()
    return positions


def payloads_in(directory: Path, start: int | None = None) -> list[bytes]:
    journal = open_journal(directory)
    try:
        return [record.payload for record in journal.replay(start)]
    finally:
        journal.close()


async def test_records_that_are_not_urgent_leave_together_in_their_order_and_soon(tmp_path: Path) -> None:
    durable: list[int] = []
    async with running(open_journal(tmp_path)) as journal:
        for number in range(100):
            position = journal.append(1, b"%d" % number, then=partial(durable.append, number), urgent=False)
            assert journal.read(position) == b"%d" % number
        assert journal.stats().writes == 0
        await trio.sleep(GATHER_S * 4)
        assert durable == list(range(100)), "nothing else came, and they left by themselves"
        writes = journal.stats().writes
        assert writes <= 4

        journal.append(1, b"100", then=partial(durable.append, 100), urgent=False)
        journal.append(1, b"101", then=partial(durable.append, 101))
        with trio.fail_after(GATHER_S * 20):
            while len(durable) < 102:  # noqa: ASYNC110
                await trio.sleep(0.001)
        journal.append(1, b"102", then=partial(durable.append, 102), urgent=False)
        await journal.flush()
        assert durable == list(range(103))
        journal.append(1, bytes(GATHER_BYTES // 2), urgent=False)
        journal.append(1, b"last", urgent=False)
    assert payloads_in(tmp_path)[:103] == [b"%d" % number for number in range(103)]
    assert payloads_in(tmp_path)[-1] == b"last", "an end writes what is gathered"


async def test_what_was_appended_is_replayed_in_order_with_its_position_and_kind(tmp_path: Path) -> None:
    async with running(open_journal(tmp_path)) as journal:
        first = journal.append(1, b"head", b"", b"body")
        second = journal.append(255, b"")
        await journal.flush()
    journal = open_journal(tmp_path)
    assert list(journal.replay()) == [(1, b"headbody", first), (255, b"", second)]
    assert list(journal.replay(second)) == [(255, b"", second)]
    journal.close()


async def test_callbacks_come_in_the_order_of_appending_and_only_when_durable(tmp_path: Path) -> None:
    called: list[int] = []
    async with running(open_journal(tmp_path)) as journal:
        for number in range(200):
            journal.append(1, b"x" * number, then=partial(called.append, number))
        assert called == []
        await journal.flush()
        assert called == list(range(200))
        assert journal.stats().queued_bytes == 0
        assert journal.stats().writes < 200, "what queues together is written together"


async def test_a_record_is_read_by_its_position_before_and_after_it_is_written(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    position = journal.append(3, b"que", b"ued")
    assert journal.read(position) == b"queued"
    async with running(journal):
        await journal.flush()
        assert journal.read(position) == b"queued"
        with pytest.raises(StorageError, match="damaged"):
            journal.read(position + 1)
        with pytest.raises(StorageError, match="keeps no record"):
            journal.read(journal.end)


async def test_a_new_segment_begins_with_the_hosts_checkpoint_so_that_older_ones_can_go(
    tmp_path: Path,
) -> None:
    checkpoints: list[int] = []
    async with running(open_journal(tmp_path, 4_096)) as journal:
        journal.on_new_segment = lambda: checkpoints.append(journal.append(9, b"checkpoint"))
        for number in range(40):
            last = journal.append(1, bytes([number]) * 500)
        await journal.flush()
        segments = journal.stats().segments
        assert segments > 3
        assert journal.drop_before(last) == segments - 1
        assert checkpoints[-1] == journal.begin
        with pytest.raises(StorageError, match="keeps no record"):
            journal.read(SEGMENT_HEADER.size)
    journal = open_journal(tmp_path, 4_096)
    assert journal.stats().segments == 1
    kept = list(journal.replay())
    assert kept[0][:2] == (9, b"checkpoint")
    assert kept[-1] == (1, bytes([39]) * 500, last)
    with pytest.raises(StorageError, match="keeps no record"):
        list(journal.replay(SEGMENT_HEADER.size))
    journal.close()


async def test_a_record_larger_than_a_segment_has_one_to_itself(tmp_path: Path) -> None:
    payloads = [b"small", b"x" * 9_000, b"small again"]
    await write(tmp_path, payloads, segment_bytes=4_096)
    assert payloads_in(tmp_path) == payloads


@pytest.mark.parametrize("damage", ["cut", "zeroed", "flipped"])
async def test_a_torn_last_write_of_any_length_is_cut_and_the_journal_goes_on(
    tmp_path: Path, damage: str
) -> None:
    whole = await write(tmp_path / "whole", [b"kept", b"torn record"])
    bytes_whole = (tmp_path / "whole" / "00000000.log").read_bytes()
    start = whole[1] & 0xFFFFFFFF
    end = start + RECORD_HEADER_BYTES + len(b"torn record")
    for cut in range(start, end):
        directory = tmp_path / f"{damage}{cut}"
        directory.mkdir()
        torn = {
            "cut": bytes_whole[:cut],
            "zeroed": bytes_whole[:cut] + bytes(64),
            "flipped": bytes_whole[:cut] + bytes([bytes_whole[cut] ^ 1]) + bytes_whole[cut + 1 : end],
        }[damage]
        (directory / "00000000.log").write_bytes(torn)
        survives = damage == "zeroed" and not any(bytes_whole[cut:end])
        assert payloads_in(directory) == ([b"kept", b"torn record"] if survives else [b"kept"]), (
            f"{damage} at {cut}"
        )
    await write(directory, [b"after"])
    assert payloads_in(directory)[-1] == b"after"


async def test_power_lost_at_any_byte_after_a_sync_loses_nothing_that_was_acknowledged(
    tmp_path: Path,
) -> None:
    async with running(open_journal(tmp_path / "a")) as journal:
        journal.append(1, b"acknowledged" * 3)
        await journal.flush()
        promised = journal.end & 0xFFFFFFFF
        for number in range(6):
            journal.append(2, bytes([number]) * 17)
        await journal.flush()
        end = journal.end & 0xFFFFFFFF
    log = (tmp_path / "a" / "00000000.log").read_bytes()
    for cut in range(promised, end + 1):
        directory = tmp_path / f"cut{cut}"
        directory.mkdir()
        (directory / "00000000.log").write_bytes(log[:cut])
        found = payloads_in(directory)
        assert found[0] == b"acknowledged" * 3
        assert found[1:] == [
            bytes([number]) * 17 for number in range((cut - promised) // (17 + RECORD_HEADER_BYTES))
        ]


async def test_blocks_of_an_unsynced_write_may_land_in_any_order(tmp_path: Path) -> None:
    async with running(open_journal(tmp_path)) as journal:
        journal.append(1, b"first")
        await journal.flush()
        lost = journal.append(1, b"lost")
        journal.append(1, b"landed, but was never promised")
        await journal.flush()
    path = tmp_path / "00000000.log"
    log = bytearray(path.read_bytes())
    log[lost : lost + RECORD_HEADER_BYTES] = bytes(RECORD_HEADER_BYTES)
    path.write_bytes(log)
    assert payloads_in(tmp_path) == [b"first"]


async def test_damage_to_what_was_promised_is_said_and_not_cut(tmp_path: Path) -> None:
    async with running(open_journal(tmp_path)) as journal:
        damaged = journal.append(1, b"a lock, say")
        await journal.flush()
        journal.append(1, RECORD_MAGIC * 9)
        await journal.flush()
    path = tmp_path / "00000000.log"
    log = bytearray(path.read_bytes())
    log[damaged + RECORD_HEADER_BYTES] ^= 1
    path.write_bytes(log)
    with pytest.raises(StorageError, match=f"damaged at byte {damaged}, before records that were durable"):
        open_journal(tmp_path)
    assert path.read_bytes() == log, "what is damaged is left for who may repair it"


async def test_damage_in_an_older_segment_is_said_in_a_sentence(tmp_path: Path) -> None:
    positions = await write(tmp_path, [bytes([number]) * 900 for number in range(12)], segment_bytes=4_096)
    path = tmp_path / "00000000.log"
    log = bytearray(path.read_bytes())
    log[positions[1] + 30] ^= 0x80
    path.write_bytes(log)
    journal = open_journal(tmp_path, 4_096)
    with pytest.raises(StorageError, match=f"00000000.log is damaged at byte {positions[1]}"):
        list(journal.replay())
    journal.close()
    (tmp_path / "00000001.log").unlink()
    with pytest.raises(StorageError, match="lacks a segment"):
        open_journal(tmp_path, 4_096)


@pytest.mark.parametrize("size", [0, SEGMENT_HEADER.size - 1, 100_000], ids=["empty", "torn", "allocated"])
async def test_a_segment_whose_making_was_cut_off_is_made_again(tmp_path: Path, size: int) -> None:
    await write(tmp_path, [b"kept"])
    (tmp_path / "00000001.log").write_bytes(bytes(size))
    assert payloads_in(tmp_path) == [b"kept"]
    await write(tmp_path, [b"more"])
    assert payloads_in(tmp_path) == [b"kept", b"more"]


def test_a_place_where_no_journal_can_be_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be opened"):
        open_journal(tmp_path / "file" / "journal")


async def test_the_queue_has_a_bound_and_says_that_the_disk_stands_still(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, queue_bytes_max=10_000)
    for _ in range(9):
        journal.append(1, bytes(1_000))
    with pytest.raises(JournalFull, match="does not keep up"):
        journal.append(1, bytes(1_000))
    # Its owner hears of it too: a caller whose exceptions are taken for a peer's fault must not hide it.
    with pytest.raises(JournalFull):
        await journal.run()
    assert payloads_in(tmp_path) == [bytes(1_000)] * 9, "what was queued before is kept"


async def test_a_failed_write_acknowledges_nothing_and_ends_the_journal(tmp_path: Path) -> None:
    called: list[str] = []
    journal = open_journal(tmp_path)
    with pytest.RaisesGroup(pytest.RaisesExc(StorageError, match="is full.*free some space")):
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            journal.append(1, b"fits", then=lambda: called.append("fits"))
            await journal.flush()
            journal._writer.file._reserve_bytes = 1 << 60
            journal.append(1, bytes(SEGMENT), then=lambda: called.append("does not"))
            journal.append(1, b"nor what follows it", then=lambda: called.append("does not"))
            await trio.sleep_forever()
    assert called == ["fits"]
    with pytest.raises(StorageError):
        journal.append(1, b"more")
    with pytest.raises(StorageError):
        await journal.flush()
    assert payloads_in(tmp_path) == [b"fits"]


async def test_a_disk_that_can_not_be_read_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (position,) = await write(tmp_path, [b"kept"])
    journal = open_journal(tmp_path)

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr("os.pread", fails)
        with pytest.raises(StorageError, match=r"00000000.log can't be read .*; check the disk"):
            journal.read(position)
        patch.setattr("prsm_node.storage.journal.scan", fails)
        with pytest.raises(StorageError, match=r"00000000.log can't be read .*; check the disk"):
            list(journal.replay())
    assert journal.read(position) == b"kept"
    journal.close()


@pytest.mark.parametrize("acknowledged", [0, 1, 9])
async def test_what_a_failed_sync_left_to_be_read_is_on_the_disk_before_the_next_run_believes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acknowledged: int
) -> None:
    disk, sound, write_through = bytearray(SEGMENT), True, os.pwritev

    def pwritev(fd: int, buffers: list[bytes], offset: int, flags: int) -> int:
        """As Linux does: a sync that failed leaves its pages to whoever reads, and counts them as written."""
        written = write_through(fd, buffers, offset, flags)
        if not sound:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        disk[offset : offset + written] = b"".join(buffers)[:written]
        return written

    monkeypatch.setattr("os.pwritev", pwritev)
    payloads = [bytes([number]) * 40 for number in range(acknowledged)]
    with pytest.RaisesGroup(pytest.RaisesExc(StorageError, match="cannot be written")):
        async with running(open_journal(tmp_path)) as journal:
            for payload in payloads:
                journal.append(1, payload)
                await journal.flush()
            sound = False
            for _ in range(5):
                journal.append(1, b"never acknowledged", urgent=False)
            journal.append(1, b"never acknowledged")
            await trio.sleep_forever()
    sound = True
    assert payloads_in(tmp_path) == payloads + [b"never acknowledged"] * 6
    log = (tmp_path / "00000000.log").read_bytes()
    assert disk[: len(log)] == log, "else they were gone with the power, and so was what came after them"


async def test_cancelling_writes_what_is_queued(tmp_path: Path) -> None:
    called: list[int] = []
    async with running(open_journal(tmp_path)) as journal:
        journal.append(1, b"queued at the end", then=lambda: called.append(1))
    assert payloads_in(tmp_path) == [b"queued at the end"]
    assert called == []


async def test_inline_it_needs_no_thread_and_keeps_its_promises_in_order(
    tmp_path: Path, autojump_clock: object
) -> None:
    called: list[int] = []
    async with running(Journal.open(tmp_path, 4_096, reserve_bytes=0, writer=InlineWriter)) as journal:
        for number in range(20):
            journal.append(1, bytes(400), then=partial(called.append, number))
            await trio.sleep(1)
        await journal.flush()
        assert journal.drop_before(journal.end) == 2
    assert called == list(range(20))


APPENDER = """
import sys, trio
from pathlib import Path
from prsm_node.storage.journal import Journal

async def main():
    journal = Journal.open(Path(sys.argv[1]), 1 << 16, reserve_bytes=0)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        for number in range(1_000_000):
            journal.append(1, b"%08d" % number, b"." * (number % 700),
                           then=lambda number=number: print(number, flush=True))
            if number % 5 == 0:
                await trio.sleep(0)
            if number % 500 == 499:
                await journal.flush()

trio.run(main)
"""


@pytest.mark.parametrize("acknowledged_before_the_kill", [1, 400, 3_000])
def test_killed_at_any_moment_all_that_was_acknowledged_is_there(
    tmp_path: Path, acknowledged_before_the_kill: int
) -> None:
    with subprocess.Popen([sys.executable, "-c", APPENDER, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(acknowledged_before_the_kill)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines()
    acknowledged = len(lines)
    assert [int(line) for line in lines] == list(range(acknowledged)), "in the order of appending"
    found = payloads_in(tmp_path)
    assert len(found) >= acknowledged
    assert found == [b"%08d" % number + b"." * (number % 700) for number in range(len(found))]
