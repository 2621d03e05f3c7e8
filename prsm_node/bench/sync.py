"""Catching up: a new node follows a chain that daemons serve, over libp2p on loopback.

The chain is made beforehand by real validator keys through a daemon's own executor and storage; the daemons
that serve it and the one that catches up are processes. Time runs from the first block that the new node has
executed to the last. Every certificate and the batches' authors are checked, of transactions' signatures
those near the tip (sync.verify). Not measured: starting and linking, which take a second.
"""

import shutil
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final, Literal

import msgspec
import trio

from prsm_node.bench.local_network import progress
from prsm_node.bench.made_chain import ChainMaker, bodies_of, data_of, genesis_time_ms
from prsm_node.bench.own_daemons import POLL_S, own_daemons, process_up
from prsm_node.bench.presign import addresses, signers
from prsm_node.bench.processes import cpu_s
from prsm_node.bench.report import BenchFailed, Metric
from prsm_node.cli import home_making
from prsm_node.cli.fleet import Daemon
from prsm_node.config import Config
from prsm_node.control.client import Client
from prsm_node.control.views import StatusView
from prsm_node.genesis import Genesis, genesis
from prsm_node.home import Home
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.identity.passphrases import Passphrase, Scrypt

VALIDATORS: Final = 4
EMPTY_BLOCKS: Final = 20_000
FULL_BLOCKS: Final = 1_000
TRANSFERS: Final = 500
"""In a full block."""
SENDERS: Final = 1_000
FUNDS: Final = 10**12
FEE: Final = 1_000
RUN: Final = 4
PLAY_PASSPHRASE: Final = "of a bench alone"
SYNC_S: Final = 300.0


def sync(servers: int) -> dict[str, Metric]:
    """Measure with so many daemons that serve. Raise BenchFailed."""
    metrics: dict[str, Metric] = {}
    for name, blocks, transfers in (("empty", EMPTY_BLOCKS, 0), ("full", FULL_BLOCKS, TRANSFERS)):
        metrics |= measured(name, servers, blocks, transfers)
    return metrics


def measured(name: str, servers: int, blocks: int, transfers: int) -> dict[str, Metric]:
    """Return the rate at which a new node passes so many blocks of so many transfers, and what a block cost
    its processes."""
    with own_daemons() as (directory, daemons):
        homes = homes_with_chain(directory, servers, blocks, transfers)
        daemons += [Daemon(home.path) for home in homes[1:]]
        for daemon in daemons:
            process_up(daemon)
        progress(f"{name}: a new node catches up with {blocks:,} blocks")
        daemons.append(Daemon(homes[0].path))
        rate, cpu_ms = _catches_up(daemons[-1], daemons[0], blocks)
    return {
        f"{name}_blocks": Metric.single(rate, "blocks/s", blocks),
        f"{name}_cpu_ms_per_block": Metric.single(cpu_ms, "ms", blocks),
    }


def homes_with_chain(directory: Path, servers: int, blocks: int, transfers: int) -> list[Home]:
    """Make the new node's home, then those that serve, all but the first with the whole chain."""
    keys = [SigningKey.generate() for _ in range(VALIDATORS)]
    made = genesis(
        "bench",
        genesis_time_ms(blocks),
        [(key.public, 1, f"validator{i}") for i, key in enumerate(keys)],
        [(address, FUNDS) for address in addresses(RUN, SENDERS)],
    )
    ports = home_making.free_ports(servers + 1)
    homes = [Home(directory / name) for name in ("new", *(f"server{i}" for i in range(servers)))]
    listening: list[str] = []
    for home, port in reversed(list(zip(homes, ports, strict=True))):
        listening.append(follower(home, made, port, listening))
    _make_chain(homes[1], made, keys, blocks, transfers)
    for home in homes[2:]:
        shutil.copytree(data_of(homes[1]), data_of(home))
    return homes


def follower(
    home: Home, made: Genesis, port: int, bootstrap: list[str], sync: Literal["blocks", "snapshot"] = "blocks"
) -> str:
    """Make a home of a node that follows; return its address."""
    settings = Config()
    network = msgspec.structs.replace(
        settings.network,
        host=home_making.LOOPBACK,
        port=port,
        bootstrap=tuple(bootstrap),
        mdns=False,
        dht=False,
    )
    config = msgspec.structs.replace(
        settings,
        node=msgspec.structs.replace(settings.node, name=home.path.name),
        network=network,
        sync=msgspec.structs.replace(settings.sync, mode=sync),
        keystore=msgspec.structs.replace(settings.keystore, passphrase_file=home_making.PASSPHRASE_FILE),
    )
    with home_making.new_home(home.path) as draft:
        keys = home_making.fill(draft, config, Passphrase(PLAY_PASSPHRASE), made, Scrypt.fresh())
        file = draft.path / home_making.PASSPHRASE_FILE
        file.write_text(PLAY_PASSPHRASE + "\n")
        file.chmod(0o600)
    return f"/ip4/{home_making.LOOPBACK}/tcp/{port}/p2p/{keys.node_id}"


def _make_chain(home: Home, made: Genesis, keys: list[SigningKey], blocks: int, transfers: int) -> None:
    bodies: Iterable[bytes | None] = [None] * blocks
    if transfers:
        progress(f"signing {blocks * transfers:,} transfers")
        with signers() as pool:
            signed = pool.transfers(made.hash, RUN, SENDERS, blocks * transfers, FEE, 1)
        bodies = bodies_of([one.raw for one in signed], transfers)
    progress(f"making {blocks:,} blocks")
    began = time.monotonic()
    trio.run(partial(ChainMaker(home, made, keys).make, bodies))
    progress(f"made in {time.monotonic() - began:.1f} s")


def _catches_up(new: Daemon, server: Daemon, blocks: int) -> tuple[float, float]:
    """Return blocks a second and the milliseconds of CPU that one took of the new node's processes."""
    process_up(new)
    first: tuple[int, float, float] | None = None
    deadline = time.monotonic() + SYNC_S
    with Client(new.home) as client:
        while True:
            status = client.ask("status", StatusView)
            now = time.monotonic()
            if first is None and status.height > 0:
                first = status.height, now, cpu_s([new.process.pid])
            if status.height >= blocks:
                break
            if now > deadline:
                raise BenchFailed(f"after {SYNC_S:g} s the new node is at height {status.height} of {blocks}")
            time.sleep(POLL_S)
    with Client(server.home) as client:
        told = client.ask("status", StatusView)
    if (told.height, told.block_hash, told.state_root) != (
        status.height,
        status.block_hash,
        status.state_root,
    ):
        raise BenchFailed(f"the new node has another chain than {server.name}")
    if first is None or status.height - first[0] < blocks // 2:
        raise BenchFailed(f"{blocks} blocks pass too soon to be timed; take more")
    passed = status.height - first[0]
    return passed / (now - first[1]), (cpu_s([new.process.pid]) - first[2]) * 1e3 / passed
