"""Does to machines what their schedule says, besides what befalls replicas too, and mends all in the end."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prsm_node.simulation.schedule import BadDisk, Leap

if TYPE_CHECKING:
    from prsm_node.simulation.cluster import Cluster


class MachineFaults:
    """Args:
    planned: by their time since the start.
    """

    def __init__(self, cluster: "Cluster", planned: Sequence[BadDisk | Leap]) -> None:
        self._cluster = cluster
        self._planned = planned
        self._calm = False

    def begin(self) -> None:
        """Put all into the cluster's future."""
        for fault in self._planned:
            self._cluster.at(fault.at_ms, self._play(fault))

    def calm(self) -> None:
        """Every disk is as it should be, and nothing more happens."""
        self._calm = True
        for process in self._cluster.all:
            process.disk.bad = None

    def _play(self, fault: BadDisk | Leap) -> Callable[[], None]:
        def play() -> None:
            if self._calm:
                return
            if isinstance(fault, BadDisk):
                self._spoil(fault)
            else:
                victim = self._cluster.all[fault.who]
                victim.clock_off_ms = fault.off_ms
                self._cluster.record("leap", victim, f"{fault.off_ms} ms off")

        return play

    def _spoil(self, fault: BadDisk) -> None:
        cluster, victim = self._cluster, self._cluster.all[fault.who]
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
