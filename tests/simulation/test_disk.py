"""A simulated disk keeps what it called durable, and a kill leaves a journal that opens."""

from pathlib import Path

import trio

from consensus.simulation.chance import Chance
from prsm_node.simulation import scheduling
from prsm_node.simulation.disk import MachineDisk, SimulatedWriter
from prsm_node.simulation.future import Future
from prsm_node.storage.journal import Journal


class Process:
    number = 0
    dead = False

    def step(self) -> None:
        """Nobody kills it here."""


def test_a_kill_at_any_moment_loses_nothing_that_was_durable(tmp_path: Path) -> None:
    """In each run more records are written, some are heard to be durable, and the process is killed."""
    lost = [0]

    async def main() -> None:
        future, chance = Future(), Chance(11)
        disk = MachineDisk(0, chance, future.at)
        durable: dict[int, bytes] = {}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(future.run)
            for run in range(40):
                hands: list[SimulatedWriter] = []

                def writer(directory: Path, reserve_bytes: int, step_bytes: int) -> SimulatedWriter:
                    hands.append(SimulatedWriter(disk, Process(), chance, directory))  # noqa: B023
                    return hands[0]  # noqa: B023

                journal = Journal.open(tmp_path, 4_096, reserve_bytes=0, writer=writer)
                found = {record.position: record.payload for record in journal.replay()}
                assert durable.items() <= found.items(), f"run {run}"
                async with trio.open_nursery() as life:
                    await life.start(journal.run)
                    for number in range(12):
                        payload = b"%d %d" % (run, number) * (1 + 40 * (number % 3))
                        places: list[int] = []

                        def heard(places: list[int] = places, payload: bytes = payload) -> None:
                            durable[places[0]] = payload

                        places.append(journal.append(1, payload, then=heard))
                        await trio.sleep(0.0004)
                    lost[0] += 12 * (run + 1) - len(durable)
                    hands[0].kill()
                    life.cancel_scope.cancel()
            nursery.cancel_scope.cancel()

    scheduling.run(main, 3)
    assert lost[0], "no kill ever took anything"
