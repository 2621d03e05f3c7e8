"""The state: its roots depend on blocks alone, and what it says outlives restarts."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
import trio
import trio.testing

from prsm_node.ledger.outcomes import Outcome
from prsm_node.storage.errors import StorageError
from prsm_node.storage.state import State
from tests.storage.made_chain import FUNDS, Chain, address, commit_of, transfer

T = TypeVar("T")
A, B, C = address(0), address(1), address(2)
NEW = address(999)


@pytest.fixture
def chain() -> Chain:
    return Chain()


async def test_what_was_committed_outlives_a_restart_and_the_rest_does_not(
    chain: Chain, tmp_path: Path
) -> None:
    state = chain.open(tmp_path)
    chain.run(state, transfer(A, 0, (NEW, 500)))
    await state.commit(lambda height: {b"journal_from": b"%d" % height})
    root = state.state_root(1)
    chain.run(state, transfer(A, 1, (NEW, 500)))
    assert (state.height, state.durable_height) == (2, 1)
    state.close()

    again = chain.open(tmp_path)
    assert (again.height, again.durable_height, again.state_root(1)) == (1, 1, root)
    assert again.meta(b"journal_from") == b"1"
    account = again.account(NEW)
    assert account is not None
    assert account.balance == 500
    assert again.supply.treasury == 1_000
    again.close()


async def test_roots_do_not_depend_on_commits_and_restarts(chain: Chain, tmp_path: Path) -> None:
    plain = chain.open(tmp_path / "plain")
    roots = [chain.run(plain).state_root for _ in range(24)]
    assert len(set(roots)) == 24
    plain.close()

    broken = chain.open(tmp_path / "broken")
    for height in range(1, 25):
        assert chain.run(broken).state_root == roots[height - 1], f"block {height}"
        if height % 3 == 0:
            await broken.commit()
        if height % 8 == 0:
            broken.close()
            broken = chain.open(tmp_path / "broken")
            while broken.height < height:
                chain.run(broken)
    assert broken.accounts > 100
    broken.close()


async def test_blocks_go_on_while_a_commit_is_under_way(chain: Chain, tmp_path: Path) -> None:
    reference = chain.open(tmp_path / "reference")
    roots = [chain.run(reference).state_root for _ in range(12)]
    reference.close()

    release = trio.Event()

    async def slowly(work: Callable[[], T]) -> T:
        await release.wait()
        return work()

    state = State.open(tmp_path / "state", chain.genesis, chain.read_body, sync=False, offload=slowly)
    for _ in range(4):
        chain.run(state)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(state.commit)
        await trio.testing.wait_all_tasks_blocked()
        assert not state.should_commit, "a commit is under way"
        for height in range(5, 13):
            assert chain.run(state).state_root == roots[height - 1]
        assert (state.height, state.durable_height) == (12, 0)
        assert state.block(3) is not None
        release.set()
    assert state.durable_height == 4
    await state.commit()
    state.close()
    again = chain.open(tmp_path / "state")
    assert again.state_root(12) == roots[11]
    again.close()


async def test_a_stronger_certificate_replaces_the_first_one(chain: Chain, tmp_path: Path) -> None:
    state = chain.open(tmp_path)
    execution = chain.run(state)
    await state.commit()
    stronger = commit_of(1, execution.digest, round=3)
    state.replace_commit(1, stronger)
    stored = state.block(1)
    assert stored is not None
    assert stored.commit == stronger
    await state.commit()
    state.close()
    again = chain.open(tmp_path)
    stored = again.block(1)
    assert stored is not None
    assert (stored.commit, stored.record.digest) == (stronger, execution.digest)
    again.close()


async def test_another_networks_state_is_refused_in_a_sentence(chain: Chain, tmp_path: Path) -> None:
    chain.open(tmp_path).close()
    with pytest.raises(StorageError, match="belongs to another network"):
        Chain(accounts=41).open(tmp_path)


async def test_a_changed_record_is_found_at_opening(chain: Chain, tmp_path: Path) -> None:
    state = chain.open(tmp_path)
    environment = state._environment

    def change(transaction: object, _: object) -> None:
        bucket = bytearray(transaction.get(bytes(8), db=environment.buckets))  # type: ignore[attr-defined]
        bucket[40] ^= 1
        transaction.put(bytes(8), bytes(bucket), db=environment.buckets)  # type: ignore[attr-defined]

    environment.write(change)
    state.close()
    with pytest.raises(StorageError, match="does not match its root"):
        chain.open(tmp_path)


async def test_commits_follow_each_block_at_light_load_and_4000_transfers_otherwise(
    chain: Chain, tmp_path: Path
) -> None:
    now = 0.0
    state = State.open(tmp_path, chain.genesis, chain.read_body, sync=False, clock=lambda: now)
    assert not state.should_commit, "nothing to commit"
    now += 0.05
    chain.run(state)
    assert state.should_commit, "a lone block"
    await state.commit()
    body = msgspec.msgpack.decode(chain.body_at(2, 400))
    chain.run(state, *body)
    now += 0.05
    assert not state.should_commit, "400 transfers, 50 ms"
    now += 1.0
    assert state.should_commit, "a second"
    await state.commit()
    chain.run(state, *[b"garbage"] * 4_000)
    assert not state.should_commit, "4,000 transactions at once"
    now += 0.25
    assert state.should_commit, "4,000 transactions in a quarter of a second"
    chain.run(state, *[b"garbage"] * 29_000)
    now -= 0.25
    assert state.should_commit, "33,000 transactions at once"
    now += 0.25
    await state.commit()
    for _ in range(6):
        chain.run(state, b"garbage")
    now += 0.05
    assert not state.should_commit, "six blocks in 50 ms: it catches up"
    now += 1.0
    assert state.should_commit, "a second"
    state.close()


async def test_order_is_that_of_the_bodies_and_a_bad_body_is_empty(chain: Chain, tmp_path: Path) -> None:
    state = chain.open(tmp_path)
    chain.bodies.update(
        {
            1: msgspec.msgpack.encode([transfer(A, 0, (B, FUNDS - 2_000))]),
            2: b"no list",
            3: msgspec.msgpack.encode([transfer(B, 0, (C, FUNDS)), transfer(A, 1, (C, 1_000))]),
        }
    )
    execution = chain.run_bodies(state, 1, 2, 3)
    assert [receipt.outcome for receipt in execution.receipts] == [
        Outcome.EXECUTED,
        Outcome.EXECUTED,
        Outcome.OVERDRAWN,
    ]
    stored = state.block(1)
    assert stored is not None
    assert [batch.transactions for batch in stored.record.batches] == [1, 0, 2]
    assert (execution.transactions, execution.charged, execution.nonces) == (3, 3, {A: 2, B: 1})
    assert len(state.transactions.raw(1)) == 3
    assert state.transactions.outcomes(1) == [receipt.outcome for receipt in execution.receipts]
    state.close()


async def test_the_header_names_the_root_two_heights_below(chain: Chain, tmp_path: Path) -> None:
    state = chain.open(tmp_path)
    genesis_root = state.state_root(0)
    assert state.header_root(1) == state.header_root(2) == genesis_root
    first = chain.run(state).state_root
    assert state.header_root(3) == first
    assert state.header_root(4) is None, "not executed yet"
    await state.commit()
    chain.run(state)
    assert (state.state_root(0), state.state_root(1)) == (genesis_root, first)
    state.close()
