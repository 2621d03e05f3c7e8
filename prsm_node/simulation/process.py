"""One daemon of a simulation: the real node, run after run on the same disk, killed at any step."""

from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from consensus.simulation.violation import Violation
from prsm_node.config import Config
from prsm_node.control import methods
from prsm_node.control.server import Handlers
from prsm_node.errors import OperatorError
from prsm_node.home import Home
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.node import Node
from prsm_node.node_view import RunningNode
from prsm_node.simulation.disk import MachineDisk
from prsm_node.simulation.liars import Liar
from prsm_node.simulation.machine import SimulatedMachine, World
from prsm_node.simulation.promises import LOUD
from prsm_node.simulation.twin import UncheckedNode
from prsm_node.simulation.wires import address_of

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # libp2p brings these stubs, which hide trio's own

    from prsm_node.simulation.cluster import Cluster

POWER_LOSS = 0.3
"""The share of kills that take the machine with the process."""
LOUD_MS = 1_000.0
"""After a write to its journal failed a daemon has ended."""


class Process:
    """Args:
    keys: the node's and the validator's.
    honest: whether it says what the daemon says, and no other process has its validator's key.
    checked: whether it looks for a twin before it votes, as it should.
    lies: who speaks for it, if somebody does.
    """

    def __init__(
        self,
        cluster: "Cluster",
        world: World,
        number: int,
        home: Home,
        config: Config,
        keys: tuple[SigningKey, SigningKey],
        *,
        name: str,
        honest: bool,
        checked: bool,
        lies: type[Liar] | None = None,
    ) -> None:
        self.number, self.name = number, name
        self.honest = honest
        self.disk = MachineDisk(number, world.chance, world.future.at)
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
        self._make = Node if checked else UncheckedNode
        self._home, self._config, self._keys = home, config, keys
        self._liar = (
            lies(number, cluster.genesis.hash, keys, world.chance, self._counted)
            if lies is not None
            else None
        )
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

    def start_if_down(self) -> None:
        """Begin a run where there is none."""
        if not self.up:
            self.start()

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
        self._cluster.seen["power lost"] += power
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
            lambda: self._world.future.at(LOUD_MS, lambda: self._heard(machine)),
            self._liar,
        )
        self._cluster.record("start", self, f"run {self._runs}")
        self._cluster.seen["start again"] += self._runs > 1
        try:
            with trio.CancelScope() as self._scope:
                node = self._make(self._home, self._config, *self._keys, machine)
                await node.run(partial(self._serve, node))
        except Exception as error:
            # What a killed process still raises, nobody sees.
            if not machine.dead:
                self._gave_up(machine, error)
        finally:
            ended.set()

    def _counted(self, what: str) -> None:
        self._cluster.seen[what] += 1

    def _heard(self, machine: SimulatedMachine) -> None:
        """A write to the journal of this run failed a while ago."""
        if not machine.dead and not self._cluster.stopping:
            self._cluster.violate(
                Violation(LOUD, f"{self.name} runs on {LOUD_MS:.0f} ms after its disk refused its journal")
            )

    def _gave_up(self, machine: SimulatedMachine, error: Exception) -> None:
        """The daemon ended by itself, as it must where its disk refuses what it promised to keep."""
        told = _operators(error)
        if told and machine.refused:
            self._cluster.record("disk ended", self, told)
            self.end()
            if self.disk.bad is None and not self._cluster.stopping:
                self.start()
        elif told and not self.honest:
            self._cluster.record("gave up", self, told)
            self.end()
        else:
            self._cluster.fails(self, error)

    async def _serve(
        self, node: Node, view: RunningNode, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED
    ) -> None:
        self.node, self.handlers = node, methods.handlers(view)
        self._cluster.serves(self, node)
        task_status.started()


def _operators(error: BaseException) -> str:
    """The sentences for an operator, if nothing else was raised."""
    if isinstance(error, BaseExceptionGroup):
        told = [_operators(one) for one in error.exceptions]
        return "; ".join(told) if all(told) else ""
    return str(error) if isinstance(error, OperatorError) else ""
