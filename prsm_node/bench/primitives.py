"""The operations that everything else is made of, each alone, on this machine's own disk and loopback.

Not measured: how they disturb each other on a busy node, and a network with distance.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

import lmdb
import trio

from prsm_node.bench.local_network import progress
from prsm_node.bench.report import BenchFailed, Metric
from prsm_node.bench.stream_echo import round_trips_ms
from prsm_node.identity.addresses import address_of
from prsm_node.identity.ed25519 import SigningKey, verify
from prsm_node.ledger.transactions import Transfer, signing_bytes, unsigned_bytes, with_signature
from prsm_node.storage.journal import Journal
from prsm_node.verification.worker_verifier import WorkerVerifier
from prsm_node.wire.frames import FrameJudge, FrameSealer
from prsm_node.wire.kinds import Kind

NETWORK: Final = sha256(b"prsm bench").digest()
TRANSFERS: Final = 2_000
FRAMES: Final = 1_000
IN_FRAME: Final = 64
COMMITS: Final = 50
RECORDS_A_COMMIT: Final = 1_000
RECORD_BYTES: Final = 64
READS: Final = 20_000
APPENDS: Final = 200
APPEND_BYTES: Final = 1_024
ROUND_TRIPS: Final = 300


def primitives() -> dict[str, Metric]:
    """Raise BenchFailed."""
    metrics: dict[str, Metric] = {}
    for measure in (_signatures, _worker, _frames, _lmdb, _journal, _stream):
        progress(measure.__name__.removeprefix("_"))
        metrics |= measure()
    return metrics


def _transfers() -> list[bytes]:
    key = SigningKey.from_seed(bytes(32))
    sender = address_of(key.public)
    made = []
    for nonce in range(TRANSFERS):
        unsigned = unsigned_bytes(sender, nonce, 1_000, (Transfer(sender, 1),))
        made.append(with_signature(unsigned, key.sign(signing_bytes(NETWORK, unsigned))))
    return made


def _each_us(work: Callable[[int], object], count: int) -> list[float]:
    taken = []
    for i in range(count):
        started = time.perf_counter()
        work(i)
        taken.append((time.perf_counter() - started) * 1e6)
    return taken


def _signatures() -> dict[str, Metric]:
    key = SigningKey.from_seed(bytes(32))
    messages = [b"%d" % i for i in range(TRANSFERS)]
    signatures = [key.sign(message) for message in messages]
    return {
        "sign": Metric.distribution(_each_us(lambda i: key.sign(messages[i]), TRANSFERS), "us"),
        "signature_check": Metric.distribution(
            _each_us(lambda i: verify(key.public, signatures[i], messages[i]), TRANSFERS), "us"
        ),
    }


def _worker() -> dict[str, Metric]:
    """Through the worker processes, all at once: checks a second with batches as the worker makes them."""
    raws = _transfers()

    async def timed() -> float:
        verifier = WorkerVerifier(NETWORK)
        async with trio.open_nursery() as nursery:
            await nursery.start(verifier.run)
            await verifier.check(raws[:256])
            started = time.perf_counter()
            answers = await verifier.check(raws)
            elapsed = time.perf_counter() - started
            if answers != b"\x01" * len(raws):
                raise BenchFailed("the signature workers refused good signatures")
            nursery.cancel_scope.cancel()
        return elapsed

    return {"worker_checks": Metric.single(TRANSFERS / trio.run(timed), "1/s", TRANSFERS)}


def _frames() -> dict[str, Metric]:
    """Frames of IN_FRAME transactions, sealed with a signature and judged with its check."""
    key = SigningKey.from_seed(bytes(32))
    sealer, judge = FrameSealer(NETWORK, key), FrameJudge(NETWORK)
    # A message is what msgpack makes of a transaction's bytes.
    messages = [b"\xc5" + len(raw).to_bytes(2, "big") + raw for raw in _transfers()[:IN_FRAME]]
    frames = [sealer.seal(Kind.TRANSACTIONS, i + 1, messages) for i in range(FRAMES)]
    sealing = _each_us(lambda i: sealer.seal(Kind.TRANSACTIONS, i + 1, messages), FRAMES)
    judging = _each_us(lambda i: judge.judge(frames[i], i), FRAMES)
    return {
        "frame_encode": Metric.distribution(sealing, "us"),
        "frame_decode": Metric.distribution(judging, "us"),
    }


def _lmdb() -> dict[str, Metric]:
    """Durable commits of RECORDS_A_COMMIT records of RECORD_BYTES with random keys; reads of one record."""
    chance = random.Random(1)
    keys: list[bytes] = []
    with (
        tempfile.TemporaryDirectory(prefix="prsm-bench-") as directory,
        lmdb.open(directory, map_size=1 << 30) as environment,
    ):

        def commit(_: int) -> None:
            with environment.begin(write=True) as transaction:
                for _ in range(RECORDS_A_COMMIT):
                    keys.append(chance.randbytes(32))
                    transaction.put(keys[-1], bytes(RECORD_BYTES))

        def read(_: int) -> None:
            with environment.begin() as transaction:
                transaction.get(chance.choice(keys))

        commits_us, reads_us = _each_us(commit, COMMITS), _each_us(read, READS)
    return {
        "lmdb_commit": Metric.distribution([us / 1_000 for us in commits_us], "ms"),
        "lmdb_read": Metric.distribution(reads_us, "us"),
    }


def _journal() -> dict[str, Metric]:
    """One record of APPEND_BYTES at a time, from append() to the call that says it is durable."""

    async def timed(directory: Path) -> list[float]:
        journal, taken = Journal.open(directory), []
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            for _ in range(APPENDS):
                durable = trio.Event()
                started = time.perf_counter()
                journal.append(1, os.urandom(APPEND_BYTES), then=durable.set)
                await durable.wait()
                taken.append((time.perf_counter() - started) * 1_000)
            nursery.cancel_scope.cancel()
        return taken

    with tempfile.TemporaryDirectory(prefix="prsm-bench-") as directory:
        taken_ms = trio.run(timed, Path(directory))
    return {"journal_durable": Metric.distribution(taken_ms, "ms")}


def _stream() -> dict[str, Metric]:
    """A question to a peer, a process of its own, and its answer: frames over Noise and Yamux on loopback."""
    command = [sys.executable, "-m", "prsm_node.bench.stream_echo"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as peer:
        assert peer.stdout is not None, "stdout is a pipe"
        try:
            address = peer.stdout.readline().decode().strip()
            if not address:
                raise BenchFailed("the peer of the stream did not start")
            taken_ms = trio.run(round_trips_ms, address, ROUND_TRIPS)
        finally:
            peer.kill()
    return {"stream_round_trip": Metric.distribution(taken_ms, "ms")}
