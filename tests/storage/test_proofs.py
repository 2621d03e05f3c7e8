"""Account proofs: whoever trusts a state root needs no more than one to know an account."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from prsm_node.ledger.accounts import BUCKET_BYTES
from prsm_node.ledger.roots import AccountProof, InvalidProof, verify_account
from prsm_node.storage.tree import Tree
from tests.storage.made_chain import FUNDS, Chain, address


async def test_every_account_has_a_proof_under_every_root(tmp_path: Path) -> None:
    chain = Chain(accounts=30)
    state = chain.open(tmp_path)
    for _ in range(70):
        root = chain.run(state).state_root
    assert state.accounts > 512, "three levels"
    for number in range(30):
        proof = state.proof(address(number))
        assert proof is not None
        assert verify_account(proof, root, address(number)) == state.account(address(number))
    assert state.proof(address(31)) is None
    state.close()


async def test_no_changed_proof_is_accepted(tmp_path: Path) -> None:
    chain = Chain(accounts=300)
    state = chain.open(tmp_path)
    root = state.state_root(0)
    assert root is not None
    proof = state.proof(address(7))
    assert proof is not None
    assert verify_account(proof, root, address(7)).balance == FUNDS
    state.close()

    encoded = msgspec.msgpack.encode(proof)
    refused = 0
    for at in range(len(encoded)):
        changed = bytearray(encoded)
        changed[at] ^= 0x10
        try:
            told = msgspec.msgpack.decode(bytes(changed), type=AccountProof)
        except msgspec.ValidationError:
            continue
        except msgspec.DecodeError:
            continue
        with pytest.raises(InvalidProof):
            verify_account(told, root, address(7))
        refused += 1
    assert refused > 1_200
    with pytest.raises(InvalidProof, match="another account"):
        verify_account(proof, root, address(8))
    with pytest.raises(InvalidProof, match="another state root"):
        verify_account(proof, bytes(32), address(7))
    more = msgspec.structs.replace(proof, accounts=proof.accounts + 1)
    with pytest.raises(InvalidProof, match="another state root"):
        verify_account(more, root, address(7))


def test_a_proof_among_a_million_accounts_is_below_3_kilobytes() -> None:
    tree = Tree()
    tree.build(place.to_bytes(BUCKET_BYTES, "big") for place in range(62_500))
    proof = AccountProof(999_999, 10**6, bytes(BUCKET_BYTES), tree.siblings(40_000), (bytes(32), bytes(32)))
    assert len(msgspec.msgpack.encode(proof)) < 3_000


@pytest.mark.parametrize("counts", [(0, 1, 16, 17), (15, 256, 257), (1, 300, 4_097), (0, 5_000)])
def test_a_tree_that_grew_is_the_tree_built_at_once(counts: tuple[int, ...]) -> None:
    grown = Tree()
    contents = [bytearray(place.to_bytes(8, "big")) for place in range(max(counts))]
    grown.build(contents[: counts[0]])
    for before, after in pairwise(counts):
        grown.update([(place, contents[place]) for place in range(before, after)])
        if after % 2:
            contents[0] = bytearray(b"changed")
            grown.update([(0, contents[0])])
        built = Tree()
        built.build(contents[:after])
        assert grown.root(after * 16) == built.root(after * 16)
        assert grown.siblings(after - 1) == built.siblings(after - 1)
