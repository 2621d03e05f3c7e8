"""Finality and strength from certificates alone (PROTOCOL, Strength; Joining, syncing, light clients).

A light client trusts one (height, digest) and the set in force after it, and follows headers by the sets
that they name. It executes nothing: what it learns is that a block is final, and how much faulty power
could undo that. The age of the trust is the caller's to judge: it holds the clock.

Whoever was once in a set may sign anything later, and who was jailed is known to be faulty: sets in each of
which less than a third is faulty may have lost more than a third of the first to jailings. So each change of
the set is followed by itself (`follow`), which takes a quorum of the set before it; a third of a trusted set
proves nothing.
"""

from collections.abc import Iterable, Sequence

import msgspec

from consensus.blocks import Block, block_digest
from consensus.certificates import Certificate, votes_of
from consensus.evidence import Check
from consensus.quorum import chain_strength, is_quorum
from consensus.validators import Members, ValidatorSet
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
    """Needed only where heights are left out: the block below, which names `validators`."""


class SetChange(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A block that names another set than its own height's, and what certifies it."""

    block: Block
    certificate: Certificate
    next_validators: Members


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
    """Return the trust moved to a later block of the set that the trusted one names, or raise LightFault.

    Its parent is the trusted block, or else shown, and names that very set: one of the quorum at least is
    honest while less than a quorum of the set is faulty, and precommits only a block that it checked down to
    its parent.
    """
    digest = _certified(trusted, step.block, step.certificate, step.next_validators)
    height = step.block.height
    if height > trusted.height + 1:
        _follow_the_parent(step)
    elif step.block.parent != trusted.digest:
        raise LightFault(f"height {height} does not follow the trusted block")
    if step.validators.hash != trusted.next_set.hash:
        raise LightFault(f"height {height} comes with another set than the trusted block names")
    verify_certificate(step.certificate, step.validators, network, check)
    return Trusted(height, digest, step.next_validators)


def follow(trusted: Trusted, change: SetChange, network: bytes, check: Check) -> Trusted:
    """Return the trust moved to the next block that changes the set, however far above; or raise LightFault.

    A quorum of the trusted set signed it, so that one honest validator did while less than a quorum of that
    set is faulty, whoever left it included. The block two below an honest signer's fixed which set follows:
    it is the true one, even if the trusted set was in force no longer.
    """
    try:
        after = ValidatorSet.of(change.next_validators)
    except ValueError as error:
        raise LightFault(f"the set after height {change.block.height} is none: {error}") from None
    digest = _certified(trusted, change.block, change.certificate, after)
    verify_certificate(change.certificate, trusted.next_set, network, check)
    return Trusted(change.block.height, digest, after)


def _certified(trusted: Trusted, block: Block, certificate: Certificate, after: ValidatorSet) -> bytes:
    """Return the block's digest, once it is above the trust and all that is shown with it is about it."""
    digest = block_digest(block)
    if block.height <= trusted.height:
        raise LightFault(f"height {block.height} is not above the trusted {trusted.height}")
    place = (certificate.kind, certificate.height, certificate.value)
    if place != (VoteKind.PRECOMMIT, block.height, digest):
        raise LightFault(f"the certificate shown with height {block.height} is for something else")
    if block.next_validators != after.hash:
        raise LightFault(f"height {block.height} names another next set than the one shown")
    return digest


def _follow_the_parent(step: LightBlock) -> None:
    height, parent = step.block.height, step.parent
    if parent is None or parent.height != height - 1 or block_digest(parent) != step.block.parent:
        raise LightFault(f"to go on at height {height} its parent block is needed")
    if parent.next_validators != step.validators.hash:
        raise LightFault(f"height {height} comes with another set than its parent names")


def verify_chain(trusted: Trusted, steps: Iterable[LightBlock], network: bytes, check: Check) -> Trusted:
    """Advance over all steps, in order; raise LightFault at the first that fails."""
    for step in steps:
        trusted = advance(trusted, step, network, check)
    return trusted


def strength_of(trusted: Trusted, steps: Sequence[LightBlock], height: int) -> int:
    """Return the strength of block `height`, given verified steps without a gap from the trusted height on.

    Strength looks at every height between trust and block by that height's own set, so each is needed.
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
