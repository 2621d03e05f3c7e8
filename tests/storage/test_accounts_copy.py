"""A copy of the accounts is of one height, whatever is executed and committed while it is read."""

from pathlib import Path

import pytest

from prsm_node.ledger.bucket_groups import group_hash
from prsm_node.storage import accounts_copy
from prsm_node.storage.accounts_copy import CopyOverrun
from tests.storage.made_chain import Chain

ACCOUNTS = 9_000  # three groups


async def test_a_copy_is_of_its_height_while_blocks_change_every_bucket(tmp_path: Path) -> None:
    chain = Chain(ACCOUNTS)
    state = chain.open(tmp_path)

    async def block() -> None:
        height = state.height + 1
        chain.bodies[height * 10] = chain.body_at(height, ACCOUNTS)
        chain.run(state)
        await state.commit()

    await block()
    copy, accounts = state.copy_accounts(), state.accounts
    groups = [copy.read()]
    while not copy.done:
        await block()
        groups.append(copy.read())
    state.end_copy()
    assert state.accounts > accounts > ACCOUNTS
    assert tuple(group_hash(group, accounts) for group in groups) == copy.groups
    state.close()


async def test_a_copy_that_would_lay_too_much_aside_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts_copy, "KEPT_MAX", 10)
    chain = Chain(ACCOUNTS)
    state = chain.open(tmp_path)
    copy = state.copy_accounts()
    chain.bodies[10] = chain.body_at(1, ACCOUNTS)
    chain.run(state)
    await state.commit()
    with pytest.raises(CopyOverrun):
        copy.read()
    state.close()
