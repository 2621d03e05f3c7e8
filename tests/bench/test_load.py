"""The open-loop load against a real socket: paced, counted, and honest about what did not become final."""

from pathlib import Path

import pytest
import trio

from prsm_node.bench.load import Load, LoadResult
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
