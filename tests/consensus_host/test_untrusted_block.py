"""A well certified block that the operator's trust contradicts is its bringer's fault and is not fed."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from consensus.blocks import Block
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.inbound import Inbound
from prsm_node.genesis import genesis
from prsm_node.wire.payloads import Committed
from tests.test_account_proof import KEYS, SET, signed

LINK = 1


class Faults:
    def __init__(self) -> None:
        self.named: list[tuple[int, str]] = []

    def checked(self, link: int, signatures: int) -> None:
        """Nothing is charged here."""

    def fault(self, link: int, reason: str) -> None:
        self.named.append((link, reason))


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_certified_block_off_the_trusted_chain_is_its_peers_fault(trusted: bool) -> None:
    made = genesis("trust", 1, [(key.public, 1, f"node{n}") for n, key in enumerate(KEYS)], [])
    block = Block(5, bytes(32), 2, KEYS[0].public, (), (), bytes(32), SET.hash)
    chain = SimpleNamespace(validators=lambda height: SET)
    host = SimpleNamespace(replica=SimpleNamespace(chain=chain), checks=Checks(made.hash))
    faults = Faults()
    inbound = Inbound(
        cast(Any, host), BatchStore(), cast(Any, None), cast(Any, faults), trusts=lambda _: trusted
    )
    assert inbound.decided(LINK, Committed(block, signed(made, block, 3))) is trusted
    assert faults.named == ([] if trusted else [(LINK, "committed.untrusted")])
