"""The open-loop load against a real socket: paced, counted, and honest about what did not become final."""

import math
from pathlib import Path

import pytest
import trio

from prsm_node.bench.load import Load, LoadResult, sustained
from prsm_node.bench.presign import _sign
from prsm_node.control.methods import handlers
from prsm_node.control.server import serve
from tests.control.pretend_node import GENESIS, PretendNode


async def loaded(node: PretendNode, home: Path, count: int, rate: float) -> LoadResult:
    by_sender = dict(_sign(GENESIS, 1, range(4), 4, count, 1_000, 1))
    transfers = [by_sender[i % 4][i // 4] for i in range(count)]
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, home / "core.sock", handlers(node))
        result = await trio.to_thread.run_sync(Load([home], transfers, rate).run)
        nursery.cancel_scope.cancel()
    return result


async def test_what_is_offered_becomes_final_and_is_counted_once(tmp_path: Path) -> None:
    result = await loaded(PretendNode(), tmp_path, 200, 400.0)
    assert (result.offered, result.lost, result.twice, result.refused) == (200, 0, 0, {})
    assert len(result.latencies_ms) == 200
    assert result.seconds == 0.5
    assert max(result.latencies_ms) < 300


RATE = 500.0
BLOCK_S = 0.15


def final_at(seconds: float, late_s: float, stands: tuple[float, float] = (0.0, 0.0)) -> list[float]:
    """Moments of finality of RATE transfers a second sent for so long, in blocks each BLOCK_S."""
    finals = []
    for place in range(int(RATE * seconds)):
        blocks = math.ceil((place / RATE + late_s) / BLOCK_S)
        at = blocks * BLOCK_S
        finals.append(stands[1] if stands[0] < at < stands[1] else at)
    return finals


@pytest.mark.parametrize("seconds", [1.0, 3.0, 30.0])
@pytest.mark.parametrize("late_s", [0.02, 0.4])
def test_a_short_run_measures_the_rate_that_a_long_one_does(seconds: float, late_s: float) -> None:
    assert sustained(final_at(seconds, late_s), 0.0, seconds) == pytest.approx(RATE, rel=0.04)


def test_a_network_that_stands_still_is_not_told_to_be_quick() -> None:
    assert sustained(final_at(3.0, 0.1, stands=(1.0, 6.0)), 0.0, 3.0) == pytest.approx(1_500 / 6, rel=0.1)
    assert sustained([at for at in final_at(4.0, 0.1) if at < 1], 0.0, 4.0) < RATE / 3, "lost from then on"
    assert sustained([9.0] * 900, 0.0, 3.0) == 100.0, "nothing came before the sending ended"
    assert sustained([], 0.0, 3.0) == 0.0


async def test_what_is_never_final_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prsm_node.bench.load.DRAIN_S", 0.2)
    node = PretendNode()
    node.holds_back = True
    result = await loaded(node, tmp_path, 20, 400.0)
    assert (result.lost, result.latencies_ms) == (20, [])


async def test_a_block_announced_twice_is_noticed(tmp_path: Path) -> None:
    node = PretendNode()
    node.announces_twice = True
    result = await loaded(node, tmp_path, 20, 400.0)
    assert (result.lost, result.twice) == (0, 20)
