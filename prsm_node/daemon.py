"""The process of one node: its lock, keys, logs and signals, and the socket by which commands reach it."""

import signal
import sys
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import structlog
import trio

from prsm_node import daemon_lock, memory, snapshot_start
from prsm_node.config import Config
from prsm_node.control import methods, server
from prsm_node.control.server import Handlers
from prsm_node.home import Home
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.identity.keystore import KeyKind, unlock
from prsm_node.identity.passphrases import Passphrase
from prsm_node.node import Node
from prsm_node.node_view import RunningNode
from prsm_node.observability import logs
from prsm_node.progress_bar import show
from prsm_node.snapshot_start import SnapshotStart

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # libp2p brings these stubs, which hide trio's own

log = structlog.get_logger("daemon")

SWITCH_INTERVAL_S = 0.0005


async def run(home: Home, config: Config, passphrase: Passphrase) -> None:
    """Run the node of a home until SIGINT, SIGTERM or `stop`. Raise OperatorError for what an operator can
    mend."""
    # The journal's thread and the commits' need the interpreter for moments; the default of 5 ms lets a busy
    # loop hold each of them up that long, and each commit hold up the loop.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    memory.return_large_buffers()
    with daemon_lock.held(home) as lock, closing(logs.configure(config.log, home.log)):
        node_key = unlock(home.node_key, KeyKind.NODE, passphrase)
        validator_key = unlock(home.validator_key, KeyKind.VALIDATOR, passphrase)
        if snapshot_start.wanted(home, config) and not await _take_snapshot(home, config, node_key):
            return
        node = Node(home, config, node_key, validator_key)

        async def serve(
            view: RunningNode, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED
        ) -> None:
            async with trio.open_nursery() as nursery:
                await nursery.start(server.serve, home.socket, methods.handlers(view))
                lock.announce(view.listen, datetime.now(UTC))
                nursery.start_soon(show, view.progress)
                memory.set_start_up_aside()
                nursery.start_soon(memory.collect)
                task_status.started()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_on_signal, node, nursery.cancel_scope)
            await node.run(serve)
            nursery.cancel_scope.cancel()


async def _take_snapshot(home: Home, config: Config, node_key: SigningKey) -> bool:
    """Begin with a peer's snapshot; False where the operator stopped it."""
    errand = SnapshotStart(home, config, node_key.public)

    async def serve(handlers: Handlers) -> None:
        await server.serve(home.socket, handlers)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_on_signal, errand, nursery.cancel_scope)
        goes_on = await errand.run(serve)
        nursery.cancel_scope.cancel()
    return goes_on


class Stoppable(Protocol):
    def stop(self) -> bool:
        """Begin a clean end and return at once; False where one is under way, or the start still is."""


async def _end_on_signal(node: Stoppable, scope: trio.CancelScope) -> None:
    """End in order at the first signal, at once at the second: the journal has all that was promised."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            if not node.stop():
                scope.cancel()
