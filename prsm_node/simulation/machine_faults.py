"""Does to machines what their schedule says, besides what befalls replicas too, and mends all in the end."""

from typing import TYPE_CHECKING

from consensus.simulation.faults import Faults
from consensus.simulation.schedule import BadDisk, Fault, Leap, Schedule

if TYPE_CHECKING:
    from prsm_node.simulation.cluster import Cluster


class MachineFaults(Faults):
    """What befalls whole daemons, until `calm`."""

    def __init__(self, cluster: "Cluster", schedule: Schedule) -> None:
        super().__init__(cluster, schedule)
        self._machines = cluster

    def calm(self) -> None:
        """Heal all: every disk is as it should be, too."""
        for process in self._machines.all:
            process.disk.bad = None
        super().calm()

    def befall(self, fault: Fault) -> None:
        if isinstance(fault, BadDisk):
            self._spoil(fault)
        elif isinstance(fault, Leap):
            victim = self._machines.all[fault.who]
            victim.clock_off_ms = fault.off_ms
            self._machines.record("leap", victim, f"{fault.off_ms} ms off")
        else:
            super().befall(fault)

    def _spoil(self, fault: BadDisk) -> None:
        cluster, victim = self._machines, self._machines.all[fault.who]
        victim.disk.bad = fault
        room = f", {fault.room_bytes} bytes a file" if fault.how == "full" else ""
        cluster.record(f"disk {fault.how}", victim, f"for {fault.for_ms:.0f} ms{room}")

        def mend() -> None:
            if victim.disk.bad is not fault:
                return
            victim.disk.bad = None
            cluster.record("disk good", victim, "")
            # Its operator freed some space and starts again what ended.
            victim.start_if_down()

        cluster.at(fault.for_ms, mend)
