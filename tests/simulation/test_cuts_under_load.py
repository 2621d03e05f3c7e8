"""Whole daemons under a steady load whose links are cut: once all is healed, no transfer waits for a lane."""

from hashlib import sha256
from itertools import count
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from consensus.simulation.scenario import Shape
from consensus.simulation.schedule import Cut, Schedule
from prsm_node.cli.simulate import load
from prsm_node.consensus_host.executor import Final
from prsm_node.mempool.admission import Limits
from prsm_node.simulation import scheduling
from prsm_node.simulation.clients import WALLETS
from prsm_node.simulation.cluster import Cluster
from prsm_node.simulation.schedule import NODES

SEED = 7
FIRST_S, CUT_S, AFTER_S, DRAIN_S = 1.5, 4.5, 5.0, 10.0
EVERY_S = 0.1
HEALED_S = FIRST_S + CUT_S


def schedule(shape: Shape) -> Schedule:
    return Schedule(
        scenario=replace(load("calm"), batch_every_ms=0),
        seed=SEED,
        powers=(1,) * NODES,
        faulty=(),
        calm_ms=60_000,
        entries=(Cut(FIRST_S * 1_000, shape, (0, 2, 1, 3), CUT_S * 1_000),),
        daemons=True,
    )


class Load:
    """Transfers of every wallet, each at a daemon of its own, and how long each took there."""

    def __init__(self, cluster: Cluster) -> None:
        self.waiting: dict[bytes, tuple[int, float]] = {}
        self.taken: list[tuple[float, float]] = []
        """(when it was submitted, how long it took), seconds."""
        self._paying = True
        self._settled = trio.Event()
        self._cluster = cluster
        self._numbers = count(1)

    def follow(self, number: int) -> None:
        """Take what this daemon reports as final."""
        node = self._cluster.all[number].node
        assert node is not None, "it serves"

        def final(told: Final) -> None:
            for receipt in told.execution.receipts:
                at, since = self.waiting.get(receipt.hash, (None, 0.0))
                if at == number and receipt.outcome.charged:
                    del self.waiting[receipt.hash]
                    self.taken.append((since, trio.current_time() - since))
            if not self._paying and not self.waiting:
                self._settled.set()

        node.on_final(final)

    async def pay(self) -> None:
        """Have each wallet pay once."""
        cluster = self._cluster
        for _ in range(WALLETS):
            number = next(self._numbers)
            raw = cluster.clients.signed(cluster.genesis.hash, number)
            at = number % WALLETS % NODES
            node = cluster.all[at].node
            assert node is not None, "it serves"
            self.waiting[sha256(raw).digest()] = at, trio.current_time()
            (answer,) = await node.mempool.submit([raw], 0)
            assert answer.accepted, answer.reason

    async def settle(self) -> None:
        """Pay no more; return when all is final."""
        self._paying = False
        if self.waiting:
            await self._settled.wait()


async def latencies(shape: Shape, folder: Path) -> list[tuple[float, float]]:
    """Return (when submitted, how long it took) of all transfers, seconds."""
    async with trio.open_nursery() as nursery:
        cluster = Cluster(schedule(shape), folder, nursery, trace=False)
        nursery.start_soon(cluster.future.run)
        cluster.start()
        await trio.sleep(1.0)
        paid = Load(cluster)
        for number in range(NODES):
            paid.follow(number)
        while trio.current_time() < HEALED_S + AFTER_S:
            await paid.pay()
            await trio.sleep(EVERY_S)
        with trio.move_on_after(DRAIN_S):
            await paid.settle()
        assert cluster.violation is None
        assert not paid.waiting, "all are final"
        await cluster.stop()
        nursery.cancel_scope.cancel()
    return paid.taken


@pytest.mark.parametrize("shape", ["half", "bridge"])
def test_after_a_cut_no_transfer_waits_until_a_lane_is_given_up(shape: Shape, tmp_path: Path) -> None:
    taken = scheduling.run(lambda: latencies(shape, tmp_path), SEED)
    later = [took for since, took in taken if since >= HEALED_S]
    assert len(later) > 200
    assert max(later) < Limits().hand_over_ms / 1_000
