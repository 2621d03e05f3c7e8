"""Snapshots of a million accounts: taken while the loop goes on, restored, and joined by a new node.

Taking and restoring run in this process. For joining, a chain that creates the accounts is made by real
validator keys, daemons serve it with its snapshot over loopback, and a new daemon with sync.mode "snapshot"
is started: time runs from its process' start until it serves an account at the chain's tip.
"""

import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import structlog
import trio

from consensus.blocks import Block, block_digest
from consensus.certificates import Certificate
from consensus.votes import VoteKind
from prsm_node.bench.local_network import progress
from prsm_node.bench.made_chain import ChainMaker, data_of, genesis_time_ms
from prsm_node.bench.own_daemons import POLL_S, own_daemons, process_up
from prsm_node.bench.report import BenchFailed, Metric
from prsm_node.bench.sync import VALIDATORS, follower
from prsm_node.cli import home_making
from prsm_node.cli.fleet import Daemon
from prsm_node.control.client import Client
from prsm_node.control.views import AccountView, StatusView
from prsm_node.genesis import genesis
from prsm_node.home import Home
from prsm_node.identity.addresses import address_of
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.ledger.transactions import (
    OPERATIONS_MAX,
    Transfer,
    signing_bytes,
    unsigned_bytes,
    with_signature,
)
from prsm_node.storage import restoring
from prsm_node.storage.snapshot_folder import SnapshotFolder
from prsm_node.storage.state import State
from prsm_node.sync.snapshot_taking import SnapshotTaking

ACCOUNTS: Final = 1_000_000
FUNDS: Final = 10**9
VALIDATOR: Final = b"v" * 32
FEE: Final = 1_000
SEED: Final = 5
TICK_S: Final = 0.001
PAYMENTS_IN_BLOCK: Final = 40
"""Of 256 operations, 12 KB each: a batch's body."""
ABOVE: Final = 20
"""Blocks between the snapshot and the tip."""
JOIN_S: Final = 300.0


def snapshot(servers: int) -> dict[str, Metric]:
    """Measure with so many daemons that serve. Raise BenchFailed."""
    # What the rooms log in this process is no answer: stdout is for that.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    return taken_and_restored() | joined(servers)


def taken_and_restored() -> dict[str, Metric]:
    """Return `take`, `take_stall` and `restore`."""
    progress(f"laying down {ACCOUNTS:,} accounts")
    choice = random.Random(SEED)
    made = genesis(
        "bench",
        1,
        [(VALIDATOR, 1, "bench")],
        [(b"\x01" + choice.randbytes(32), FUNDS) for _ in range(ACCOUNTS)],
    )
    with tempfile.TemporaryDirectory(prefix="prsm-bench-") as directory:
        state = State.open(Path(directory) / "state", made, lambda position: b"")
        folder = SnapshotFolder(Path(directory) / "snapshots")
        folder.open()
        progress("taking a snapshot")
        take_s, late_ms = trio.run(_take, state, folder)
        state.close()
        newest = folder.newest
        if newest is None:
            raise BenchFailed("the snapshot failed; see the log above")
        progress("restoring it")
        began = time.perf_counter()
        other = Path(directory) / "other"
        restoring.restore(newest, made, {}, other)
        State.open(other, made, lambda position: b"").close()
        restore_s = time.perf_counter() - began
    return {
        "take": Metric.single(take_s, "s", 1),
        "take_stall": Metric.distribution(late_ms, "ms"),
        "restore": Metric.single(restore_s, "s", 1),
    }


async def _take(state: State, folder: SnapshotFolder) -> tuple[float, list[float]]:
    """Return the seconds from the commit to the whole snapshot, and by how much the loop was late each ms."""
    taking = SnapshotTaking(state, folder, 1, lambda: ())
    late_ms: list[float] = []

    async def tick() -> None:
        while True:
            due = time.perf_counter() + TICK_S
            await trio.sleep(TICK_S)
            late_ms.append(max(0.0, time.perf_counter() - due) * 1e3)

    _empty_block(state)
    await state.commit()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        nursery.start_soon(taking.run)
        began = time.perf_counter()
        taking.begin()
        _empty_block(state)
        _empty_block(state)
        taking.grown()
        await taking.idle()
        taken_s = time.perf_counter() - began
        nursery.cancel_scope.cancel()
    return taken_s, late_ms


def _empty_block(state: State) -> None:
    height, root = state.height + 1, state.header_root(state.height + 1)
    assert root is not None, f"block {height - 2} is not executed"
    block = Block(height, state.digest, height, VALIDATOR, (), (), root, bytes(32))
    digest = block_digest(block)
    state.execute(block, digest, Certificate(VoteKind.PRECOMMIT, height, 0, digest, ()), [], [])


def joined(servers: int) -> dict[str, Metric]:
    """Return `join` and how much of it came over the network."""
    with own_daemons() as (directory, daemons):
        homes, someone, tip = _homes(directory, servers)
        daemons += [Daemon(home.path) for home in homes[1:]]
        for daemon in daemons:
            process_up(daemon)
        progress("a new node joins by the snapshot")
        began = time.monotonic()
        daemons.append(Daemon(homes[0].path))
        _serves(daemons[-1], someone, tip)
        join_s = time.monotonic() - began
        with Client(homes[0].path) as client:
            first = client.ask("status", StatusView).first_block
        if first == 1:
            raise BenchFailed(f"it synced all blocks instead; see {homes[0].log}")
    return {"join": Metric.single(join_s, "s", 1), "joined_above": Metric.single(first - 1, "height", 1)}


def _homes(directory: Path, servers: int) -> tuple[list[Home], bytes, int]:
    """Make the new node's home and those that serve; return them, an address that exists, and the tip."""
    keys = [SigningKey.generate() for _ in range(VALIDATORS)]
    payer = SigningKey.generate()
    payments = -(-ACCOUNTS // OPERATIONS_MAX)
    creating = -(-payments // PAYMENTS_IN_BLOCK)
    tip = creating + ABOVE
    made = genesis(
        "bench",
        genesis_time_ms(tip),
        [(key.public, 1, f"validator{i}") for i, key in enumerate(keys)],
        [(address_of(payer.public), 10**17)],
    )
    ports = home_making.free_ports(servers + 1)
    homes = [Home(directory / name) for name in ("new", *(f"server{i}" for i in range(servers)))]
    listening: list[str] = []
    for home, port in reversed(list(zip(homes, ports, strict=True))):
        listening.append(follower(home, made, port, listening, sync="snapshot"))
    progress(f"making a chain that creates {payments * OPERATIONS_MAX:,} accounts")
    choice = random.Random(SEED)
    bodies: list[bytes | None] = list(_bodies(payer, made.hash, payments, choice))
    bodies += [None] * ABOVE
    trio.run(partial(ChainMaker(homes[1], made, keys, snapshot_blocks=creating).make, bodies))
    for home in homes[2:]:
        shutil.copytree(data_of(homes[1]), data_of(home))
    return homes, address_of(payer.public), tip


def _bodies(payer: SigningKey, network: bytes, payments: int, choice: random.Random) -> Iterator[bytes]:
    raws: list[bytes] = []
    for nonce in range(payments):
        transfers = tuple(Transfer(b"\x01" + choice.randbytes(32), 1_000) for _ in range(OPERATIONS_MAX))
        unsigned = unsigned_bytes(address_of(payer.public), nonce, FEE * OPERATIONS_MAX, transfers)
        raws.append(with_signature(unsigned, payer.sign(signing_bytes(network, unsigned))))
        if len(raws) == PAYMENTS_IN_BLOCK or nonce == payments - 1:
            yield msgspec.msgpack.encode(raws)
            raws = []


def _serves(new: Daemon, someone: bytes, tip: int) -> None:
    """Return when the node shows an account at the tip."""
    deadline = time.monotonic() + JOIN_S
    while True:
        if new.process.poll() is not None or time.monotonic() > deadline:
            raise BenchFailed(f"the new node did not come to serve: {new.last_words()}")
        up = new.up()
        if up is not None:
            with Client(new.home) as client:
                if client.ask("status", StatusView).height >= tip:
                    client.ask("account", AccountView, address=someone)
                    return
        time.sleep(POLL_S)
