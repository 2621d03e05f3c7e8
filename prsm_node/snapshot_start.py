"""The start of a node without a chain that begins with a snapshot: links for that errand, then a state.

Runs before the node is built, for its state is made here. Until then commands hear how far it is. The links
use a key of their own: nobody takes this node for one that follows the chain already.
"""

import os
import time
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import structlog
import trio

from prsm_node import __version__, settings, trusted_block
from prsm_node import genesis as genesis_document
from prsm_node.config import Config
from prsm_node.control.server import Handlers
from prsm_node.control.starting import handlers
from prsm_node.control.views import SnapshotView, StatusView
from prsm_node.home import Home
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.identity.peer_ids import peer_id
from prsm_node.machine import Machine
from prsm_node.network.discovery import Discovery
from prsm_node.network.links import Links
from prsm_node.peer_outbox import PeerOutbox
from prsm_node.progress_bar import bar, show
from prsm_node.storage import restoring
from prsm_node.storage.journal_segments import first_position, segment_numbers
from prsm_node.storage.snapshot_folder import SnapshotFolder
from prsm_node.sync.snapshot_fetch import SnapshotFetch
from prsm_node.sync.snapshot_progress import Phase, Progress
from prsm_node.sync.snapshot_trust import meta_of

log = structlog.get_logger("snapshots")

TOLD_EVERY_S = 5.0

Serve = Callable[[Handlers], Awaitable[None]]
"""Serves commands until cancelled."""


def wanted(home: Home, config: Config) -> bool:
    """Whether this home begins with a snapshot: it has no state."""
    if config.sync.mode != "snapshot":
        return False
    if home.state.exists():
        log.info("snapshot_not_needed", why="this home has a chain already")
        return False
    return True


class SnapshotStart:
    """Makes the state of a home, or leaves it to block sync where peers offer no snapshot."""

    def __init__(self, home: Home, config: Config, node_key: bytes, machine: Machine | None = None) -> None:
        self._machine = machine or Machine()
        self._home = home
        self._config = config
        self._node_key = node_key
        self._genesis = genesis_document.load(home.genesis)
        self._trusted = trusted_block.load(home.trusted_block)
        self._progress = Progress(time.monotonic)
        self._started_ms = self._machine.now_ms()
        self._stop = trio.Event()
        network = msgspec.structs.replace(
            settings.network_config(config), listen=("/ip4/127.0.0.1/tcp/0",), advertise=()
        )
        self._links = Links(network, SigningKey.generate(), self._genesis.hash, version=__version__)
        self._outbox = PeerOutbox(self._links)

    def stop(self) -> bool:
        """Give it up and return at once."""
        begins = not self._stop.is_set()
        self._stop.set()
        return begins

    async def run(self, serve: Serve) -> bool:
        """Return whether the node is to go on; False where it was stopped meanwhile.

        Raise OperatorError for what an operator can mend. What was fetched stays for the next start.
        """
        if self._trusted is not None:
            unbonding_ms, folder = self._genesis.parameters.unbonding_ms, self._home.state.parent
            trusted_block.check(self._trusted, 0, None, unbonding_ms, self._machine.now_ms(), folder)
        finished = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_when_stopped, nursery.cancel_scope)
            nursery.start_soon(serve, handlers(self.status, self.stop))
            nursery.start_soon(self._tell)
            nursery.start_soon(show, self._line)
            await nursery.start(self._links.run)
            nursery.start_soon(Discovery(self._links).run)
            await self._make_state()
            finished = True
            nursery.cancel_scope.cancel()
        return finished

    async def _end_when_stopped(self, scope: trio.CancelScope) -> None:
        await self._stop.wait()
        scope.cancel()

    async def _make_state(self) -> None:
        offload = self._machine.offload
        folder = SnapshotFolder(self._home.snapshots)
        for damaged in folder.open():
            log.warning("snapshot_damaged", why=damaged)
        fetch = SnapshotFetch(
            self._outbox, folder, self._genesis, self._trusted, self._progress, self._machine.offload
        )
        snapshot = await fetch.run()
        if snapshot is None:
            log.warning("no_snapshot", why="no peer offers one that this home trusts; syncing all blocks")
            return
        size = snapshot.size_bytes
        self._progress.enter(Phase.RESTORING, snapshot.height, size)
        # A journal without its state holds what this node signed: it is read as after any restart.
        segments = segment_numbers(self._home.journal)
        journal_from = first_position(segments[0] if segments else 0)
        meta = meta_of(snapshot.manifest, journal_from)

        def tell(share: float) -> None:
            self._progress.reach(round(share * size))

        await offload(partial(restoring.restore, snapshot, self._genesis, meta, self._home.state, tell))
        log.info("snapshot_restored", height=snapshot.height, accounts=snapshot.manifest.accounts)

    # --- telling ----------------------------------------------------------------------------------

    async def _tell(self) -> None:
        while True:
            await trio.sleep(TOLD_EVERY_S)
            view = self._progress.view()
            if view.phase is Phase.LOOKING:
                log.info("snapshot_looked_for", peers=len(self._outbox.links()))
                continue
            log.info(
                "snapshot_progress",
                phase=view.phase.value,
                height=view.height,
                bytes_done=view.bytes_done,
                bytes_total=view.bytes_total,
                mb_per_s=round(view.bytes_per_s / 1e6, 2),
                seconds_left=None if view.seconds_left is None else round(view.seconds_left, 1),
                peers=len(self._outbox.links()),
            )

    def _line(self) -> str:
        view = self._progress.view()
        return bar(view.bytes_done / view.bytes_total if view.bytes_total else 0.0, view.sentence())

    def status(self) -> StatusView:
        genesis, view = self._genesis, self._progress.view()
        heights = [*self._outbox.heights().values(), view.height]
        return StatusView(
            node_id=peer_id(self._node_key),
            name=self._config.node.name,
            network=genesis.hash,
            version=__version__,
            height=0,
            block_hash=genesis.hash,
            state_root=b"",
            last_block_time_ms=0,
            peers=len(self._outbox.links()),
            validators=len(genesis.validators),
            voting=False,
            not_voting_because=view.sentence(),
            syncing=True,
            sync_target=max(heights),
            mempool=0,
            finality_p50_ms=None,
            finality_p99_ms=None,
            listen=[],
            pid=os.getpid(),
            started_ms=self._started_ms,
            first_block=1,
            snapshot=SnapshotView(
                phase=view.phase.value,
                height=view.height,
                bytes_done=view.bytes_done,
                bytes_total=view.bytes_total,
                bytes_per_s=view.bytes_per_s,
                seconds_left=view.seconds_left,
                resumed_bytes=view.resumed_bytes,
            ),
        )
