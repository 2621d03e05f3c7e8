"""A block executed ahead of its decision: dropped it leaves no trace, decided it is the block itself."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.blocks import Block, block_digest
from prsm_node.storage.blocks import BatchRecord
from prsm_node.storage.speculation import Speculation
from prsm_node.storage.state import State
from tests.storage.made_chain import AUTHOR, NO_DIGEST, Chain, address, commit_of, transfer

ACCOUNTS = 6
# Two more than exist, so that blocks create accounts; nonces and amounts that fit, and some that don't.
transfers = st.builds(
    lambda sender, nonce, to, amount: transfer(address(sender), nonce, (address(to), amount)),
    st.integers(0, ACCOUNTS + 1),
    st.integers(0, 2),
    st.integers(0, ACCOUNTS + 20),
    st.sampled_from([1, 10**9, 10**12 - 1_000, 10**13]),
)
blocks = st.lists(transfers, max_size=12)


def next_block(state: State, raws: list[bytes]) -> tuple[Block, bytes]:
    root = state.header_root(state.height + 1)
    assert root is not None
    time_ms = 1_000 + state.height + len(raws)
    block = Block(state.height + 1, state.digest, time_ms, AUTHOR, (), (), root, NO_DIGEST)
    return block, msgspec.msgpack.encode(raws)


def speculate(state: State, raws: list[bytes]) -> Speculation:
    block, body = next_block(state, raws)
    return state.speculate(block, block_digest(block), [body])


def decide(chain: Chain, state: State, raws: list[bytes], ahead: Speculation | None = None) -> None:
    block, body = next_block(state, raws)
    digest = block_digest(block)
    position = block.height * 10
    chain.bodies[position] = body
    batch = BatchRecord(AUTHOR, position, NO_DIGEST, position)
    state.execute(block, digest, commit_of(block.height, digest), [batch], [body], speculated=ahead)


def all_of(state: State) -> Iterator[Any]:
    """What can be asked of a state."""
    yield state.height, state.digest, state.state_root(state.height), state.supply, state.accounts
    for height in range(1, state.height + 1):
        yield state.block(height), state.transactions.outcomes(height)
        for raw in state.transactions.raw(height):
            yield raw, state.transactions.find(sha256(raw).digest())
    for number in range(ACCOUNTS + 21):
        yield (
            state.account(address(number)),
            state.proof(address(number)),
            state.transactions.history(address(number)),
        )


@settings(max_examples=40, deadline=None)
@given(before=blocks, dropped=st.lists(blocks, min_size=1, max_size=3), decided=blocks, adopt=st.booleans())
def test_a_speculation_leaves_no_trace_and_its_adoption_is_the_decision(
    before: list[bytes], dropped: list[list[bytes]], decided: list[bytes], adopt: bool
) -> None:
    with TemporaryDirectory() as directory:
        chain = Chain(ACCOUNTS)
        plain = chain.open(Path(directory) / "plain")
        state = chain.open(Path(directory) / "state")
        for one in (plain, state):
            decide(chain, one, before)
        for raws in dropped:
            stood = list(all_of(plain))
            speculate(state, raws)
            assert list(all_of(state)) == stood
        ahead = speculate(state, decided) if adopt else None
        decide(chain, plain, decided)
        decide(chain, state, decided, ahead)
        assert list(all_of(state)) == list(all_of(plain))
        plain.close()
        state.close()


async def test_a_speculation_outlives_a_commit_between_it_and_its_decision(tmp_path: Path) -> None:
    raws = [transfer(address(0), 1, (address(ACCOUNTS + 1), 5)), transfer(address(1), 0, (address(2), 7))]
    chain = Chain(ACCOUNTS)
    plain, state = chain.open(tmp_path / "plain"), chain.open(tmp_path / "state")
    for one in (plain, state):
        decide(chain, one, [transfer(address(0), 0, (address(ACCOUNTS), 5))])
    ahead = speculate(state, raws)
    await state.commit()
    decide(chain, plain, raws)
    decide(chain, state, raws, ahead)
    await state.commit()
    root = plain.state_root(2)
    state.close()
    again = chain.open(tmp_path / "state")
    assert (again.height, again.state_root(2)) == (2, root), "what lies on the disk has the plain root too"
    again.close()
    plain.close()


def test_what_was_speculated_of_another_block_is_never_adopted(tmp_path: Path) -> None:
    chain = Chain(ACCOUNTS)
    state = chain.open(tmp_path)
    ahead = speculate(state, [transfer(address(0), 0, (address(1), 5))])
    with pytest.raises(AssertionError, match="another block"):
        decide(chain, state, [], ahead)
    state.close()
