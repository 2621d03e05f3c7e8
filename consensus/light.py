"""Finality and strength from certificates alone (PROTOCOL, Strength; Joining, syncing, light clients).

A light client trusts one (height, digest) and the set in force after it, and follows headers by the sets
that they name. It executes nothing: what it learns is that a block is final, and how much faulty power
could undo that. The age of the trust is the caller's to judge: it holds the clock.
"""

from collections.abc import Iterable, Sequence

import msgspec

from consensus.blocks import Block, block_digest
from consensus.certificates import Certificate, votes_of
from consensus.evidence import Check
from consensus.quorum import chain_strength, is_quorum, is_third
from consensus.validators import ValidatorSet
from consensus.votes import VoteKind, vote_signed_bytes, well_formed


class LightFault(Exception):
    """What was shown does not prove finality; the message says why. The shower's fault, not the
    operator's."""


class Trusted(msgspec.Struct, frozen=True):
    """What a light client holds to be final."""

    height: int
    digest: bytes
    next_set: ValidatorSet
    """The set of height + 1, which this block names."""


class LightBlock(msgspec.Struct, frozen=True):
    """One step: a block, a commit certificate for it, and its height's set."""

    block: Block
    certificate: Certificate
    validators: ValidatorSet
    next_validators: ValidatorSet
    """The set of the height after, which this block names."""
    parent: Block | None = None
    """Needed only where heights are skipped: the block below, which names `validators`."""


def verify_certificate(
    certificate: Certificate, validators: ValidatorSet, network: bytes, check: Check
) -> dict[bytes, int]:
    """Return voter -> mark of a certificate that a quorum of the set signed. Raise LightFault for any other.

    Distinct members of the set, every signature good: one bad vote spoils it, since honest nodes send none.
    """
    marks: dict[bytes, int] = {}
    weight = 0
    for vote in votes_of(certificate):
        power = validators.power(vote.voter)
        if power == 0:
            raise LightFault(f"{vote.voter.hex()[:8]} signed at height {vote.height} and is not in its set")
        if vote.voter in marks:
            raise LightFault(
                f"{vote.voter.hex()[:8]} stands twice in the certificate of height {vote.height}"
            )
        if not well_formed(vote) or not check(vote.voter, vote.signature, vote_signed_bytes(network, vote)):
            raise LightFault(f"a signature in the certificate of height {vote.height} is not good")
        marks[vote.voter] = vote.polka_round if vote.kind is VoteKind.PREVOTE else vote.diverged
        weight += power
    if not is_quorum(weight, validators.total):
        raise LightFault(
            f"the certificate of height {certificate.height} weighs {weight} of {validators.total}"
        )
    return marks


def advance(trusted: Trusted, step: LightBlock, network: bytes, check: Check) -> Trusted:
    """Return the trust moved to a later block, or raise LightFault.

    The next height follows by parent and set. A jump needs more than a third of the trusted set among the
    signers: one of them at least is honest while less than a third of that set is faulty, and an honest
    validator precommits only a block that it checked down to its parent, so that the set this names is the
    true one; a quorum of it then says that the block is final.
    """
    block, certificate = step.block, step.certificate
    digest = block_digest(block)
    if block.height <= trusted.height:
        raise LightFault(f"height {block.height} is not above the trusted {trusted.height}")
    place = (certificate.kind, certificate.height, certificate.value)
    if place != (VoteKind.PRECOMMIT, block.height, digest):
        raise LightFault(f"the certificate shown with height {block.height} is for something else")
    if block.next_validators != step.next_validators.hash:
        raise LightFault(f"height {block.height} names another next set than the one shown")
    jump = block.height > trusted.height + 1
    if jump:
        _follow_the_parent(step)
    elif block.parent != trusted.digest:
        raise LightFault(f"height {block.height} does not follow the trusted block")
    elif step.validators.hash != trusted.next_set.hash:
        raise LightFault(f"height {block.height} comes with another set than the trusted block names")
    marks = verify_certificate(certificate, step.validators, network, check)
    known = sum(trusted.next_set.power(voter) for voter in marks)
    if jump and not is_third(known, trusted.next_set.total):
        raise LightFault(
            f"of the trusted set only {known} of {trusted.next_set.total} signed height {block.height}"
        )
    return Trusted(block.height, digest, step.next_validators)


def _follow_the_parent(step: LightBlock) -> None:
    height, parent = step.block.height, step.parent
    if parent is None or parent.height != height - 1 or block_digest(parent) != step.block.parent:
        raise LightFault(f"to skip to height {height} its parent block is needed")
    if parent.next_validators != step.validators.hash:
        raise LightFault(f"height {height} comes with another set than its parent names")


def verify_chain(trusted: Trusted, steps: Iterable[LightBlock], network: bytes, check: Check) -> Trusted:
    """Advance over all steps, in order; raise LightFault at the first that fails."""
    for step in steps:
        trusted = advance(trusted, step, network, check)
    return trusted


def strength_of(trusted: Trusted, steps: Sequence[LightBlock], height: int) -> int:
    """Return the strength of block `height`, given verified steps without a gap from the trusted height on.

    Strength looks at every height between trust and block by that height's own set, so a skip can't give it.
    Raise LightFault where a step is missing.
    """
    expected = trusted.height + 1
    for step in steps:
        if step.block.height != expected:
            raise LightFault(f"strength needs each height: {expected} is missing")
        expected += 1
    if not trusted.height < height < expected:
        raise LightFault(f"height {height} is not among those shown")
    powers = {step.block.height: step.validators.powers for step in steps}
    commits = {
        step.block.height: [{vote.voter: vote.diverged for vote in votes_of(step.certificate)}]
        for step in steps
    }
    return chain_strength(trusted.height, height, powers, commits)
