"""Histories and transactions are found wherever they lie: in memory, in runs, merged, after restarts."""

from pathlib import Path

import pytest

from prsm_node.ledger.outcomes import Outcome
from prsm_node.ledger.transactions import transaction_hash
from prsm_node.storage.history import UnknownPosition
from prsm_node.storage.state import State
from tests.storage.made_chain import Chain, address, transfer

A, B, C, D = (address(number) for number in range(4))


def touching(chain: Chain, state: State, account: bytes) -> list[tuple[int, int]]:
    """Read all blocks: where the account stands, newest first."""
    places = []
    for height in range(1, state.height + 1):
        raws, outcomes = state.transactions.raw(height), state.transactions.outcomes(height)
        for index, (raw, outcome) in enumerate(zip(raws, outcomes, strict=True)):
            if not outcome.charged:
                continue
            if raw[4:37] == account or (outcome is Outcome.EXECUTED and account in raw[37:-66]):
                places.append((height, index))
    return sorted(places, reverse=True)


async def test_a_history_is_all_that_touched_the_account_newest_first(tmp_path: Path) -> None:
    chain = Chain()
    state = chain.open(tmp_path)
    for height in range(1, 21):
        chain.run(state)
        if height % 6 == 0:
            await state.commit()
    for number in range(0, 40, 5):
        account = address(number)
        walked = state.transactions.history(account, limit=1_000)
        assert [item.position for item in walked] == sorted((item.position for item in walked), reverse=True)
        assert [(item.height, item.index) for item in walked] == touching(chain, state, account)
    state.close()


async def test_pages_of_a_history_join_without_gap_or_overlap(tmp_path: Path) -> None:
    chain = Chain()
    state = chain.open(tmp_path)
    for _ in range(20):
        chain.run(state)
    whole = state.transactions.history(A, limit=1_000)
    assert len(whole) > 15
    pages = []
    before = None
    while page := state.transactions.history(A, limit=4, before=before):
        pages += page
        before = page[-1].position
    assert pages == whole
    with pytest.raises(UnknownPosition):
        state.transactions.history(address(10**9), before=whole[0].position) or state.transactions.history(
            D, before=1
        )
    state.close()


async def test_a_history_threads_through_several_operations_and_failures(tmp_path: Path) -> None:
    chain = Chain(accounts=4)
    state = chain.open(tmp_path)
    chain.run(
        state, transfer(A, 0, (B, 1), (C, 2), (B, 3)), transfer(B, 0, (B, 5)), transfer(C, 0, (D, 10**15))
    )
    chain.run(state, transfer(D, 0, (C, 1), (A, 1)), transfer(D, 9, (A, 1)), transfer(A, 1, (D, 1)))
    places = {
        account: [(item.height, item.index) for item in state.transactions.history(account)]
        for account in (A, B, C, D)
    }
    assert places == {
        A: [(2, 2), (2, 0), (1, 0)],
        B: [(1, 1), (1, 0)],
        C: [(2, 0), (1, 2), (1, 0)],
        D: [(2, 2), (2, 0)],
    }
    assert state.transactions.history(C)[1].outcome is Outcome.OVERDRAWN
    assert state.transactions.history(address(77)) == []
    state.close()


async def test_a_transaction_is_found_before_and_after_commits_runs_merges_and_restarts(
    tmp_path: Path,
) -> None:
    chain = Chain()
    state = chain.open(tmp_path)
    small_runs(state)
    hashes = {}
    for height in range(1, 61):
        for receipt in chain.run(state).receipts:
            hashes[receipt.hash] = receipt.position
        if height % 3 == 0:
            await state.commit()
        if height % 7 == 0:
            while await state.merge_index():
                pass
        if height in (30, 60):
            assert {digest: position_in(state, digest) for digest in hashes} == hashes
    assert 1 < state._index.runs < 12, "merged"
    assert state.transactions.find(bytes(32)) is None
    await state.commit()
    state.close()

    again = chain.open(tmp_path)
    assert {digest: position_in(again, digest) for digest in hashes} == hashes
    again.close()
    for path in sorted((tmp_path / "index").glob("*.run"))[1::2]:
        path.write_bytes(path.read_bytes()[:-1])
    (tmp_path / "index" / "torn.draft").write_bytes(b"x")
    mended = chain.open(tmp_path)
    assert {digest: position_in(mended, digest) for digest in hashes} == hashes
    mended.close()


async def test_what_was_skipped_is_found_only_where_it_was_executed(tmp_path: Path) -> None:
    chain = Chain()
    state = chain.open(tmp_path)
    early = transfer(A, 1, (B, 1))
    chain.run(state, early)
    assert state.transactions.find(transaction_hash(early)) is None
    chain.run(state, transfer(A, 0, (B, 2)), early)
    chain.run(state, early)
    found = state.transactions.find(transaction_hash(early))
    assert found is not None
    assert (found.height, found.index, found.raw, found.outcome) == (2, 1, early, Outcome.EXECUTED)
    assert state.transactions.outcomes(3) == [Outcome.NONCE_SPENT]
    state.close()


def position_in(state: State, digest: bytes) -> int:
    found = state.transactions.find(digest)
    assert found is not None, f"{digest.hex()[:8]} is not found"
    assert found.hash == digest
    return found.position


def small_runs(state: State) -> None:
    """Runs of 80 transactions, so that a test's few make many."""
    state._index.run_entries = 80
