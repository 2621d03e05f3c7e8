"""Who hears of a block as it becomes final here: the log, and those who asked."""

from collections.abc import Callable

from prsm_node.consensus_host.executor import Final
from prsm_node.machine import Machine
from prsm_node.observability.block_log import BlockLog


class FinalBlocks:
    """`catches_up` says whether blocks pass by the thousand, of which sync tells now and then."""

    def __init__(self, machine: Machine, catches_up: Callable[[], bool]) -> None:
        self._now_ms = machine.now_ms
        self._catches_up = catches_up
        self._log = BlockLog(machine.clock)
        self._told: list[Callable[[Final], None]] = []

    def final(self, final: Final) -> None:
        """A block was decided, executed, and its decision is durable."""
        block = final.block
        if not self._catches_up():
            late_ms = max(0, self._now_ms() - block.time_ms)
            self._log.add(
                block.height, final.execution.transactions, final.certificate.round, final.digest, late_ms
            )
        for told in list(self._told):
            told(final)

    def on_final(self, told: Callable[[Final], None]) -> Callable[[], None]:
        """Call `told` with each block as it becomes final here; return what ends that."""
        self._told.append(told)
        return lambda: self._told.remove(told)
