"""One daemon of a simulation: the real node, run after run on the same disk, killed at any step."""

from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from consensus.simulation.disk import Disk
from prsm_node.config import Config
from prsm_node.control import methods
from prsm_node.control.server import Handlers
from prsm_node.home import Home
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.node import Node
from prsm_node.node_view import RunningNode
from prsm_node.simulation.machine import SimulatedMachine, World
from prsm_node.simulation.wires import address_of

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # libp2p brings these stubs, which hide trio's own

    from prsm_node.simulation.cluster import Cluster

POWER_LOSS = 0.3
"""The share of kills that take the machine with the process."""


class Process:
    """Args:
    keys: the node's and the validator's.
    """

    def __init__(
        self,
        cluster: "Cluster",
        world: World,
        number: int,
        home: Home,
        config: Config,
        keys: tuple[SigningKey, SigningKey],
    ) -> None:
        self.number, self.name = number, f"n{number}"
        self.disk = Disk(number, world.chance, world.future.at)
        self.clock_off_ms = 0
        self.crash_after: int | None = None
        """Steps until this run ends by itself."""
        self.up = False
        """Whether it runs, or is about to."""
        self.node: Node | None = None
        """While commands are served."""
        self.handlers: Handlers = {}
        self.key = keys[1].public
        self._cluster, self._world = cluster, world
        self._home, self._config, self._keys = home, config, keys
        self._address = address_of(number, keys[0].public)
        self._runs = 0
        self._machine: SimulatedMachine | None = None
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._ended.set()
        self._killed = trio.Event()

    def start(self) -> None:
        """Begin a run, once the one before has ended."""
        assert not self.up, f"{self.name} runs already"
        self.up = True
        before, self._ended = self._ended, trio.Event()
        self._cluster.nursery.start_soon(self._run, before, self._ended)

    def step(self) -> None:
        """The run is about to act on the world: it may be the last thing that it does not do."""
        if self.crash_after is None or self._machine is None or self._machine.dead:
            return
        self.crash_after -= 1
        if self.crash_after < 0:
            self.kill()

    def kill(self) -> None:
        """End the run as kill -9 or a loss of power does."""
        power = self._world.chance.happens(("power", self.number), POWER_LOSS)
        self._cluster.record("crash", self, "power" if power else "killed")
        self.end(power=power)

    def end(self, *, power: bool = False) -> None:
        """End the run where it stands."""
        machine = self._machine
        if machine is None or machine.dead:
            return
        machine.kill(power=power)
        self.up = False
        self.node, self.handlers, self.crash_after = None, {}, None
        self._scope.cancel()
        self._killed.set()

    async def until_killed(self) -> None:
        """Return when the run of this moment is over."""
        await self._killed.wait()

    async def until_ended(self) -> None:
        """Return when nothing of the last run is left."""
        await self._ended.wait()

    async def _run(self, before: trio.Event, ended: trio.Event) -> None:
        await before.wait()
        if self._cluster.stopping:
            ended.set()
            return
        self._runs += 1
        structlog.contextvars.bind_contextvars(process=self.name)
        self._world.wires.dark.pop(self.number, None)
        self._killed = trio.Event()
        self._machine = machine = SimulatedMachine(
            self._world,
            self.number,
            self._runs,
            self.disk,
            self._address,
            lambda: self.clock_off_ms,
            self.step,
        )
        self._cluster.record("start", self, f"run {self._runs}")
        try:
            with trio.CancelScope() as self._scope:
                node = Node(self._home, self._config, *self._keys, machine)
                await node.run(partial(self._serve, node))
        except Exception as error:
            # What a killed process still raises, nobody sees.
            if not machine.dead:
                self._cluster.fails(self, error)
        finally:
            ended.set()

    async def _serve(
        self, node: Node, view: RunningNode, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED
    ) -> None:
        self.node, self.handlers = node, methods.handlers(view)
        self._cluster.serves(self, node)
        task_status.started()
