"""Does to daemons and links what a fault says, and undoes it."""

import contextlib
import os
import signal

import msgspec

from prsm_node.chaos.carrier import Carrier
from prsm_node.chaos.schedule import Fault
from prsm_node.chaos.shaping import Condition, Conditions
from prsm_node.cli.fleet import Daemon, Fleet


class Harm:
    """Of one network.

    Args:
        links: what they are like without a fault.
    """

    def __init__(self, fleet: Fleet, carrier: Carrier, links: Condition) -> None:
        self._fleet = fleet
        self._carrier = carrier
        self._links = links
        self.down: set[Daemon] = set()
        """Killed, and not started again yet."""
        self._stopped: set[int] = set()

    def victims(self, fault: Fault) -> list[Daemon]:
        """Whom a fault kills or pauses."""
        return [self._fleet.daemons[node] for node in fault.nodes]

    def do(self, fault: Fault) -> None:
        """Do it to whom it names."""
        victims = self.victims(fault)
        for daemon in victims:
            pid = daemon.process.pid
            if fault.kind == "kill":
                self.down.add(daemon)
                os.kill(pid, signal.SIGKILL)
                daemon.process.wait()
            else:
                self._stopped.add(pid)
                self.order()
                os.kill(pid, signal.SIGSTOP)
        if fault.cuts or fault.links is not None:
            self.order(fault)

    def undo(self, fault: Fault) -> None:
        """Bring back whom it took, and let all links be as they are without it."""
        for daemon in self.victims(fault):
            if fault.kind == "kill":
                daemon.restart()
                self.down.discard(daemon)
            else:
                os.kill(daemon.process.pid, signal.SIGCONT)
                self._stopped.discard(daemon.process.pid)
        self.order()

    def order(self, fault: Fault | None = None) -> None:
        """Have the links be as the scenario has them, or as the fault makes them."""
        links = self._links
        cuts: tuple[tuple[int, int], ...] = ()
        if fault is not None:
            links, cuts = fault.links or links, fault.cuts
        cut = msgspec.structs.replace(links, cut=True)
        self._carrier.order(
            Conditions(links, tuple((a, b, cut) for a, b in cuts), tuple(sorted(self._stopped)))
        )

    def heal_all(self) -> None:
        """Undo whatever is under way."""
        for pid in self._stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._stopped.clear()
        for daemon in self.down:
            if daemon.process.poll() is not None:
                daemon.restart()
        self.down.clear()
        self.order()
