"""A light client follows certificates, skips where it may, and is fooled by nothing less than a third."""

import pytest

from consensus.blocks import Block, block_digest
from consensus.certificates import certificate_of
from consensus.light import LightBlock, LightFault, Trusted, advance, strength_of, verify_chain
from consensus.validators import ValidatorSet
from consensus.votes import CheckedVote, Vote, VoteKind

NETWORK = bytes(32)


def some(first: int) -> ValidatorSet:
    """Four validators of power 1; the set shifts by one validator each third height."""
    return ValidatorSet((bytes([i]) * 32, 1) for i in range(first, first + 4))


SETS = {height: some(height // 3) for height in range(1, 30)}


def chain(length: int, signers: int = 3) -> tuple[Trusted, list[LightBlock]]:
    digest, steps, parent = bytes(32), [], None
    for height in range(1, length + 1):
        block = Block(height, digest, height, bytes(32), (), (), NETWORK, SETS[height + 1].hash)
        digest = block_digest(block)
        voters = [v.key for v in SETS[height]][:signers]
        votes = [Vote(VoteKind.PRECOMMIT, height, 0, digest, -1, 0, voter, b"s") for voter in voters]
        certificate = certificate_of([CheckedVote(vote) for vote in votes])
        steps.append(LightBlock(block, certificate, SETS[height], SETS[height + 1], parent))
        parent = block
    return Trusted(0, bytes(32), SETS[1]), steps


def good(key: bytes, signature: bytes, message: bytes) -> bool:
    return signature == b"s"


def test_a_chain_is_followed_through_changing_sets() -> None:
    trusted, steps = chain(12)
    assert verify_chain(trusted, steps, NETWORK, good).height == 12
    assert strength_of(trusted, steps, 12) == 1
    trusted, steps = chain(4, signers=4)
    assert strength_of(trusted, steps, 4) == 2


def test_a_skip_needs_more_than_a_third_of_the_trusted_set() -> None:
    trusted, steps = chain(12)
    assert advance(trusted, steps[5], NETWORK, good).height == 6
    with pytest.raises(LightFault, match="of the trusted set only"):
        advance(trusted, steps[11], NETWORK, good)
    with pytest.raises(LightFault, match="strength needs each height"):
        strength_of(trusted, [steps[5]], 6)


def test_less_than_a_quorum_a_bad_signature_and_a_foreign_set_are_refused() -> None:
    trusted, steps = chain(2, signers=2)
    with pytest.raises(LightFault, match="weighs 2 of 4"):
        advance(trusted, steps[0], NETWORK, good)
    trusted, steps = chain(2)
    with pytest.raises(LightFault, match="not good"):
        advance(trusted, steps[0], NETWORK, lambda key, signature, message: False)
    with pytest.raises(LightFault, match="another set than the trusted block names"):
        advance(Trusted(0, bytes(32), some(20)), steps[0], NETWORK, good)
