"""Up to the block that the operator trusts nothing of agreement is taken: former validators vote as well."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from consensus.blocks import Block
from consensus.certificates import votes_of
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

    def fault(self, link: int, reason: str) -> None:
        self.named.append((link, reason))


class Host:
    """Takes what is fed."""

    def __init__(self, network: bytes) -> None:
        self.checks = Checks(network)
        self.fed: list[object] = []
        wants = dict.fromkeys(("wants_proposal", "wants_certificate"), lambda _: True)
        chain = SimpleNamespace(validators=lambda height: SET)
        self.replica = SimpleNamespace(chain=chain, height=SimpleNamespace(height=5), **wants)

    def feed(self, happened: object) -> None:
        self.fed.append(happened)

    def vote_received(self, link: int, vote: object) -> None:
        self.fed.append(vote)


@pytest.mark.parametrize("follows", [True, False])
async def test_below_the_trusted_block_well_certified_blocks_and_votes_are_passed_over(follows: bool) -> None:
    made = genesis("trust", 1, [(key.public, 1, f"node{n}") for n, key in enumerate(KEYS)], [])
    block = Block(5, bytes(32), 2, KEYS[0].public, (), (), bytes(32), SET.hash)
    host, faults = Host(made.hash), Faults()
    inbound = Inbound(
        cast(Any, host), BatchStore(), cast(Any, None), cast(Any, faults), follows=lambda height: follows
    )
    certificate = signed(made, block, 3)
    inbound.on_committed(LINK, [Committed(block, certificate)])
    inbound.on_certificates(LINK, [certificate])
    inbound.on_votes(LINK, list(votes_of(certificate)))
    assert len(host.fed) == (2 + 3 if follows else 0)
    assert faults.named == [], "whoever takes part in agreement at its tip is not to blame"
