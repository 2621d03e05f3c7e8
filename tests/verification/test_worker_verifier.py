"""Signatures are checked in other processes; neither their death nor a poisoned batch is anyone's problem."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import ed25519_zebra  # type: ignore[import-untyped]
import msgspec
import psutil  # type: ignore[import-untyped]
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from prsm_node.errors import OperatorError
from prsm_node.ledger.transactions import Transfer, signing_bytes, unsigned_bytes, with_signature
from prsm_node.verification import worker, worker_verifier
from prsm_node.verification.verifier import InlineVerifier
from prsm_node.verification.worker_verifier import WorkerVerifier

NETWORK = bytes(range(32))
SECRET, PUBLIC = ed25519_zebra.ed_from_seed(bytes(32))
SENDER = b"\x01" + PUBLIC


def signed(nonce: int, network: bytes = NETWORK) -> bytes:
    unsigned = unsigned_bytes(SENDER, nonce, 1_000, (Transfer(to=SENDER, amount=5),))
    return with_signature(unsigned, ed25519_zebra.ed_sign(SECRET, signing_bytes(network, unsigned)))


GOOD = [signed(nonce) for nonce in range(150)]
FORGED = GOOD[0][:-1] + bytes([GOOD[0][-1] ^ 1])


@asynccontextmanager
async def running(verifier: WorkerVerifier) -> AsyncIterator[WorkerVerifier]:
    async with trio.open_nursery() as nursery:
        await nursery.start(verifier.run)
        pids = verifier.pids()
        yield verifier
        nursery.cancel_scope.cancel()
    assert not any(map(psutil.pid_exists, pids)), "no process is left behind"


def test_only_the_senders_own_signature_for_this_network_holds() -> None:
    check = InlineVerifier(NETWORK).check_now
    another_nonce = signed(7)[:40] + signed(8)[40:]
    cases = [
        GOOD[0],
        FORGED,
        signed(1, network=bytes(32)),
        another_nonce,
        b"",
        GOOD[1][:-1],
        b"\x97\x01" + GOOD[1][2:],
    ]
    assert list(check(cases)) == [1, 0, 0, 0, 0, 0, 1]


@given(st.lists(st.binary(max_size=400), max_size=40))
def test_the_worker_reads_every_list_that_the_daemon_writes(raws: list[bytes]) -> None:
    assert worker.parse_list(msgspec.msgpack.encode(raws)) == raws


@pytest.mark.parametrize("raw_bytes", [300, 70_000])
def test_long_lists_and_long_items_are_read_too(raw_bytes: int) -> None:
    for count in (15, 16, 70_000 // raw_bytes + 1):
        raws = [bytes([number % 256]) * raw_bytes for number in range(count)]
        assert worker.parse_list(msgspec.msgpack.encode(raws)) == raws


async def test_each_caller_gets_its_own_answers_in_order() -> None:
    async with running(WorkerVerifier(NETWORK, workers=2)) as verifier:
        answers: dict[int, bytes] = {}

        async def ask(size: int) -> None:
            answers[size] = await verifier.check(
                [FORGED if place % 3 == size % 3 else GOOD[place] for place in range(size)]
            )

        async with trio.open_nursery() as nursery:
            for size in range(0, 150, 7):
                nursery.start_soon(ask, size)
        for size, answer in answers.items():
            assert answer == bytes(place % 3 != size % 3 for place in range(size))


async def test_a_killed_worker_is_replaced_and_no_answer_is_lost() -> None:
    async with running(WorkerVerifier(NETWORK, workers=1)) as verifier:
        wrong: list[int] = []

        async def ask() -> None:
            for _ in range(6):
                if await verifier.check(GOOD[:100]) != b"\1" * 100:
                    wrong.append(1)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
            for _ in range(3):
                await trio.sleep(0.02)
                for pid in verifier.pids():
                    os.kill(pid, signal.SIGKILL)
        assert wrong == []
        assert verifier.stats().restarts >= 1
        assert verifier.stats().queued == 0


async def test_a_stopped_worker_is_noticed_by_its_silence() -> None:
    async with running(WorkerVerifier(NETWORK, workers=1, answer_deadline_s=0.2)) as verifier:
        os.kill(verifier.pids()[0], signal.SIGSTOP)
        with trio.fail_after(5):
            assert await verifier.check(GOOD[:10]) == b"\1" * 10
        assert verifier.stats().restarts == 1


POISON = b"poison"
CRASHING_WORKER = f"""
import os, sys
sys.path.insert(0, {str(Path(worker.__file__).parent)!r})
import worker
inner = worker.signature_holds
def signature_holds(prefix, head, tail, raw):
    if raw == {POISON!r}:
        os.abort()
    return inner(prefix, head, tail, raw)
worker.signature_holds = signature_holds
worker.main()
"""


async def test_a_transaction_that_kills_workers_is_found_and_refused_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "crashing_worker.py"
    script.write_text(CRASHING_WORKER)
    monkeypatch.setattr(worker_verifier, "WORKER_SCRIPT", str(script))
    async with running(WorkerVerifier(NETWORK, workers=1)) as verifier:
        asked = [*GOOD[:5], POISON, *GOOD[5:12]]
        with trio.fail_after(30):
            assert await verifier.check(asked) == bytes(raw != POISON for raw in asked)
            assert await verifier.check(GOOD[:3]) == b"\1\1\1"
        assert verifier.stats().refused_after_crashes == 1


async def test_a_worker_that_cannot_start_is_the_operators_to_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_verifier, "WORKER_SCRIPT", str(tmp_path / "absent.py"))
    monkeypatch.setattr(worker_verifier, "START_PAUSE_S", 0.001)
    with pytest.RaisesGroup(
        pytest.RaisesExc(OperatorError, match="does not start"), allow_unwrapped=True, flatten_subgroups=True
    ):
        await WorkerVerifier(NETWORK, workers=1).run()


async def test_a_cancelled_question_is_forgotten_and_hurts_no_other() -> None:
    async with running(WorkerVerifier(NETWORK, workers=1)) as verifier:
        with trio.move_on_after(0.001):
            await verifier.check(GOOD * 20)
        assert await verifier.check([FORGED, *GOOD[:9]]) == b"\0" + b"\1" * 9
        assert verifier.stats().queued == 0


async def test_a_full_queue_makes_callers_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_verifier, "QUEUE_MAX", 200)
    async with running(WorkerVerifier(NETWORK, workers=1)) as verifier:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(verifier.check, GOOD[:100])
            await trio.lowlevel.checkpoint()
            assert verifier.stats().queued <= 300
        assert verifier.stats().checked == 800


PARENT = """
import sys, trio
from prsm_node.verification.worker_verifier import WorkerVerifier

async def main():
    verifier = WorkerVerifier(bytes(32), workers=2)
    async with trio.open_nursery() as nursery:
        await nursery.start(verifier.run)
        print(*verifier.pids(), flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def test_workers_die_with_a_daemon_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(psutil.pid_exists, pids))
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 5
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.02)
