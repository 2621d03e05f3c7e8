"""Pruned blocks are gone from every index, and nothing else is: not after a restart, not after a crash."""

from pathlib import Path

import msgspec
import pytest
import trio

from prsm_node.ledger.transactions import transaction_hash
from prsm_node.storage.blocks import BatchRecord
from prsm_node.storage.environment import DiskFull, Environment
from prsm_node.storage.journal_segments import first_position
from prsm_node.storage.journal_use import Segments
from prsm_node.storage.state import State
from prsm_node.storage.transaction_index import TransactionIndex
from tests.storage.made_chain import AUTHOR, NO_DIGEST, Chain, address
from tests.storage.made_snapshots import grown


def first_hash(chain: Chain, height: int) -> bytes:
    raws: list[bytes] = msgspec.msgpack.decode(chain.read_body(height * 10))
    return transaction_hash(raws[0])


def only_from(state: State, chain: Chain, first: int, height: int) -> None:
    assert state.first_block == first
    for below in range(1, first):
        assert state.block(below) is None
        assert state.transactions.raw(below) == []
        assert state.transactions.outcomes(below) == []
        assert state.transactions.find(first_hash(chain, below)) is None
    for kept in range(first, height + 1):
        stored = state.block(kept)
        assert stored is not None
        found = state.transactions.find(first_hash(chain, kept))
        assert found is not None
        assert found.height == kept
    walked = state.transactions.history(address(1), 1_000)
    assert walked
    assert min(item.height for item in walked) >= first


async def test_pruned_blocks_are_gone_with_their_indexes_and_the_rest_stands(tmp_path: Path) -> None:
    chain = Chain()
    state = await grown(chain, tmp_path, 30)
    root = state.state_root(30)
    await state.prune(12)
    await state.prune(12)
    only_from(state, chain, 12, 30)
    for _ in range(5):
        chain.run(state)
    await state.commit()
    await state.prune(20)
    only_from(state, chain, 20, 35)
    state.close()

    again = chain.open(tmp_path)
    only_from(again, chain, 20, 35)
    assert again.state_root(30) == root
    assert again.state_root(19) is None
    again.close()


async def test_a_prune_that_fails_midway_is_a_shorter_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prsm_node.storage.state.PRUNED_AT_ONCE", 4)
    chain = Chain()
    state = await grown(chain, tmp_path, 20)
    write, steps = Environment.write, []

    def twice(self: Environment, put: object) -> None:
        steps.append(put)
        if len(steps) == 3:
            raise DiskFull("the disk is full")
        write(self, put)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Environment, "write", twice)
        with pytest.raises(DiskFull):
            await state.prune(16)
    only_from(state, chain, 9, 20)
    state.close()
    again = chain.open(tmp_path)
    only_from(again, chain, 9, 20)
    await again.prune(16)
    only_from(again, chain, 16, 20)
    again.close()


async def test_blocks_can_be_pruned_while_others_are_executed_and_committed(tmp_path: Path) -> None:
    chain = Chain()
    state = await grown(chain, tmp_path, 20)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(state.prune, 18)
        for _ in range(10):
            chain.run(state)
            nursery.start_soon(state.commit)
            await trio.lowlevel.checkpoint()
    only_from(state, chain, 18, 30)
    state.close()


def test_runs_of_the_index_go_when_all_of_them_is_pruned(tmp_path: Path) -> None:
    chain = Chain()
    state = chain.open(tmp_path / "state")
    rows = {}
    for _ in range(12):
        height = chain.run(state).height
        rows[height] = state._blocks.rows(height)
    index = TransactionIndex(tmp_path / "index", run_entries=90)  # three blocks a run
    index.open(12, rows.get)
    assert index.runs == 4
    index.prune(6)
    assert index.runs == 3, "the run of 4 to 6 is still needed"
    index.close()
    again = TransactionIndex(tmp_path / "index", run_entries=90)
    again.open(12, {height: rows[height] for height in range(6, 13)}.get, 6)
    assert again.runs == 3
    for height in range(6, 13):
        assert again.candidates(first_hash(chain, height))
    again.prune(13)
    assert again.runs == 0
    again.close()
    state.close()


def test_a_segment_is_needed_as_long_as_one_block_has_a_body_there(tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    segments = Segments(environment)
    for height, segment in ((1, 0), (2, 1), (3, 0), (4, 2)):
        segments.add(height, [BatchRecord(AUTHOR, height, NO_DIGEST, first_position(segment) + 50)])
    assert segments.oldest(1) == first_position(0)
    segments.prune(3)
    assert segments.oldest(3) == first_position(0), "an old batch was ordered late"
    segments.prune(4)
    assert segments.oldest(4) == first_position(2)
    assert segments.oldest(5) is None
    environment.close()


async def test_what_segments_are_needed_for_outlives_a_restart(tmp_path: Path) -> None:
    chain = Chain()
    state = await grown(chain, tmp_path, 3)
    assert state.bodies_from == first_position(0)
    state.close()
    again = chain.open(tmp_path)
    assert again.bodies_from == first_position(0)
    again.close()
