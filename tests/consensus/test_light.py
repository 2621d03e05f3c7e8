"""A light client follows certificates and each change of the set; less than a quorum of it fools nobody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from consensus.blocks import Block, block_digest
from consensus.certificates import certificate_of
from consensus.light import (
    LightBlock,
    LightFault,
    SetChange,
    Trusted,
    advance,
    follow,
    strength_of,
    verify_chain,
)
from consensus.quorum import is_third
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
    with pytest.raises(LightFault, match="strength needs each height"):
        strength_of(trusted, [steps[2]], 3)


def test_less_than_a_quorum_a_bad_signature_and_a_foreign_set_are_refused() -> None:
    trusted, steps = chain(2, signers=2)
    with pytest.raises(LightFault, match="weighs 2 of 4"):
        advance(trusted, steps[0], NETWORK, good)
    trusted, steps = chain(2)
    with pytest.raises(LightFault, match="not good"):
        advance(trusted, steps[0], NETWORK, lambda key, signature, message: False)
    with pytest.raises(LightFault, match="another set than the trusted block names"):
        advance(Trusted(0, bytes(32), some(20)), steps[0], NETWORK, good)


def change(step: LightBlock) -> SetChange:
    return SetChange(step.block, step.certificate, step.next_validators.pairs())


def test_each_change_of_the_set_is_followed_and_then_any_height_of_the_last() -> None:
    trusted, steps = chain(12)
    with pytest.raises(LightFault, match="height 11 comes with another set"):
        advance(trusted, steps[10], NETWORK, good)
    for at in (2, 5, 8):
        trusted = follow(trusted, change(steps[at - 1]), NETWORK, good)
    assert trusted.next_set == SETS[9]
    assert advance(trusted, steps[10], NETWORK, good).height == 11
    with pytest.raises(LightFault, match="not above the trusted"):
        follow(trusted, change(steps[1]), NETWORK, good)
    with pytest.raises(LightFault, match="its parent block is needed"):
        advance(trusted, replace(steps[10], parent=None), NETWORK, good)


def test_a_change_left_out_forged_or_of_too_few_is_refused() -> None:
    trusted, steps = chain(12)
    with pytest.raises(LightFault, match="is not in its set"):
        follow(trusted, change(steps[7]), NETWORK, good)
    true = change(steps[1])
    for forged, says in (
        (replace(true, next_validators=some(20).pairs()), "names another next set"),
        (replace(true, next_validators=(true.next_validators[0],) * 2), "is none"),
        (replace(true, certificate=steps[0].certificate), "is for something else"),
        (replace(true, certificate=replace(true.certificate, kind=VoteKind.PREVOTE)), "something else"),
        (replace(true, certificate=replace(true.certificate, votes=())), "weighs 0 of 4"),
        (
            replace(true, certificate=replace(true.certificate, votes=true.certificate.votes[:1] * 3)),
            "stands twice",
        ),
    ):
        with pytest.raises(LightFault, match=says):
            follow(trusted, forged, NETWORK, good)


@given(st.lists(st.integers(2, 9), min_size=1, max_size=5))
def test_whom_sets_jailed_forge_nothing_however_many_they_are(jailed: list[int]) -> None:
    """One of ten leaves the set after the other: together they weigh more than a third of the first set, and
    all sign a chain in which they did not leave, or in which a set of their own follows."""
    out = list(dict.fromkeys(jailed))
    first = ValidatorSet((bytes([i]) * 32, 1) for i in range(10))
    theirs = ValidatorSet((bytes([i]) * 32, 1) for i in out)
    for named in (first, theirs):
        parent = Block(9, bytes(32), 9, bytes(32), (), (), NETWORK, named.hash)
        block = Block(10, block_digest(parent), 10, bytes(32), (), (), NETWORK, named.hash)
        votes = [Vote(VoteKind.PRECOMMIT, 10, 0, block_digest(block), -1, 0, v.key, b"s") for v in theirs]
        certificate = certificate_of([CheckedVote(vote) for vote in votes])
        trusted = Trusted(0, bytes(32), first)
        with pytest.raises(LightFault):
            advance(trusted, LightBlock(block, certificate, named, named, parent), NETWORK, good)
        with pytest.raises(LightFault):
            follow(trusted, SetChange(block, certificate, named.pairs()), NETWORK, good)
    signed = sum(first.power(vote.voter) for vote in certificate.votes)
    assert is_third(signed, first.total) == (3 * len(out) > 10), "why nothing skips by a third of the set"
