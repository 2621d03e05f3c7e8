"""From a transaction's hash to its position: sorted runs, with what is newer in memory.

Hashes are random keys, and random keys in LMDB cost more than executing the transaction: so a block appends
to two flat columns in memory, and 16,384 committed entries become a run on the disk, eight runs of a level
one of the next. Entries are 8 bytes of the hash and the position: whoever looks up gets candidates, newest
first, and checks the transaction there. All of it is derived from the blocks' rows: after a crash it is
completed from them.
"""

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from prsm_node.ledger.outcomes import FIRST_UNCHARGED
from prsm_node.ledger.positions import place_of, position_of
from prsm_node.storage import runs
from prsm_node.storage.blocks import Rows
from prsm_node.storage.runs import PREFIX_BYTES, BrokenRun, Run

RUN_ENTRIES: Final = 16_384
# Blocks without transactions fill no run, yet a restart reads the rows of all blocks above the last run.
RUN_HEIGHTS: Final = 10_000
RUNS_PER_LEVEL: Final = 8

RowsOf = Callable[[int], Rows | None]


class RunPlan(msgspec.Struct, frozen=True):
    """The run to be written next."""

    first: int
    last: int
    prefixes: bytes
    positions: "array[int]"


class TransactionIndex:
    """All but `write_run` and `merge` run on the loop's thread; those two in a worker, one at a time."""

    def __init__(
        self, directory: Path, *, run_entries: int = RUN_ENTRIES, run_heights: int = RUN_HEIGHTS
    ) -> None:
        self.directory = directory
        self.run_entries = run_entries
        """From so many on a run is written."""
        self._run_heights = run_heights
        self._runs: list[Run] = []
        """In order of height, without gaps from height 1 on."""
        self._prefixes = bytearray()
        self._positions: array[int] = array("Q")
        """Of what stands above the runs, in order of the chain."""
        self._first = 1
        """The lowest height that is looked up."""
        self._height = 0
        """The last height whose transactions are here."""

    def open(self, height: int, rows_of: RowsOf, first: int = 1) -> None:
        """Take over the runs good from `first` up to the durable `height`, make the others again.

        Raise OSError.
        """
        self._first = first
        self.directory.mkdir(parents=True, exist_ok=True)
        for draft in self.directory.glob("*.draft"):
            draft.unlink()
        found = []
        for path in sorted(self.directory.glob("*.run")):
            try:
                found.append(Run(path))
            except BrokenRun:
                path.unlink()
        # Of runs that begin at one height the longest; what it covers was merged into it.
        for run in sorted(found, key=lambda run: (run.first, -run.last)):
            begins = run.first == self._runs[-1].last + 1 if self._runs else run.first <= first <= run.last
            if begins and run.last <= height:
                self._runs.append(run)
            else:
                # Covered, beyond the state, or behind a gap: what it held is added again from the rows.
                run.close()
                run.path.unlink()
        self._height = self._next - 1
        for missing in range(self._height + 1, height + 1):
            rows = rows_of(missing)
            assert rows is not None, f"block {missing} has no rows, with {height} durable"
            self.add(missing, rows)
            while (plan := self.plan(missing)) is not None:
                self.written(self.write_run(plan))

    def add(self, height: int, rows: Rows) -> None:
        """Take in a block's charged transactions: the others may be ordered again."""
        assert height == self._height + 1, f"height {height} after {self._height}"
        self._height = height
        base = position_of(height, 0)
        outcomes, prefixes = rows.outcomes, rows.prefixes
        if not any(outcomes):
            self._prefixes += prefixes
            self._positions.extend(range(base, base + len(outcomes)))
            return
        for index, outcome in enumerate(outcomes):
            if outcome < FIRST_UNCHARGED:
                self._prefixes += prefixes[index * PREFIX_BYTES : (index + 1) * PREFIX_BYTES]
                self._positions.append(base | index)

    def candidates(self, digest: bytes) -> list[int]:
        """Return the positions at which a transaction of this hash may stand, newest first."""
        prefix = digest[:PREFIX_BYTES]
        found = []
        at = self._prefixes.find(prefix)
        while at >= 0:
            if at % PREFIX_BYTES == 0:
                found.append(self._positions[at // PREFIX_BYTES])
            at = self._prefixes.find(prefix, at + 1)
        found.reverse()
        for run in reversed(self._runs):
            found += reversed(run.positions(prefix))
        return found

    def plan(self, durable: int) -> RunPlan | None:
        """Return the run to write, of heights that are durable, if there is enough for one."""
        first = self._next
        if durable < first:
            return None
        end = self._count_up_to(durable)
        if end < self.run_entries and durable - first < self._run_heights:
            return None
        return RunPlan(first, durable, bytes(self._prefixes[: end * PREFIX_BYTES]), self._positions[:end])

    def write_run(self, plan: RunPlan) -> Run:
        """In a worker thread. Raise OSError with nothing changed."""
        prefixes = plan.prefixes
        entries = [
            prefixes[at * PREFIX_BYTES : (at + 1) * PREFIX_BYTES] + position.to_bytes(8, "big")
            for at, position in enumerate(plan.positions)
        ]
        entries.sort()
        return runs.write(self.directory, 0, plan.first, plan.last, iter((entries,)), len(entries))

    def written(self, run: Run) -> None:
        """A planned run is on the disk."""
        self._runs.append(run)
        del self._positions[: run.count]
        del self._prefixes[: run.count * PREFIX_BYTES]

    def prune(self, first: int) -> None:
        """Delete the runs that lie wholly below `first`. Not while one of them is being merged."""
        self._first = first
        while self._runs and self._runs[0].last < first:
            run = self._runs.pop(0)
            run.close()
            run.path.unlink(missing_ok=True)

    def merge_wanted(self) -> list[Run]:
        """Return adjacent runs of one level that should become one, or none."""
        by_level: dict[int, list[Run]] = {}
        for run in self._runs:
            by_level.setdefault(run.level, []).append(run)
        for level in sorted(by_level):
            if len(by_level[level]) >= RUNS_PER_LEVEL:
                return by_level[level][:RUNS_PER_LEVEL]
        return []

    def merge(self, wanted: list[Run], pause_s: float = runs.PAUSE_S) -> Run:
        """In a worker thread. Raise OSError with nothing changed."""
        return runs.merge(self.directory, wanted[0].level + 1, wanted, pause_s)

    def merged(self, wanted: list[Run], run: Run) -> None:
        """The merged run is on the disk: forget its parts."""
        start = self._runs.index(wanted[0])
        assert self._runs[start : start + len(wanted)] == wanted, "runs changed under a merge"
        self._runs[start : start + len(wanted)] = [run]
        for part in wanted:
            part.close()
            part.path.unlink()

    @property
    def _next(self) -> int:
        """The height at which the next run begins. What is in memory may begin lower: that is pruned."""
        return self._runs[-1].last + 1 if self._runs else self._first

    @property
    def runs(self) -> int:
        return len(self._runs)

    def close(self) -> None:
        for run in self._runs:
            run.close()

    def _count_up_to(self, height: int) -> int:
        """Return how many entries in memory stand at or below `height`."""
        if height >= self._height:
            return len(self._positions)
        low, high = 0, len(self._positions)
        while low < high:
            middle = (low + high) // 2
            if place_of(self._positions[middle])[0] <= height:
                low = middle + 1
            else:
                high = middle
        return low
