"""Whether a snapshot is of the chain that this home trusts: its root, certified, followed from there.

The home trusts its genesis, or the block that its invite vouches for (PROTOCOL, Joining). From it the block
that names the snapshot's root is reached in one step up: it carries the votes of a quorum of its own height's
set, with more than a third of the trusted set among them (consensus/light.py). Or by a walk down: each header
names its parent.
"""

from consensus.blocks import Block, block_digest
from consensus.dissemination.batches import batch_signed_bytes
from consensus.light import LightBlock, LightFault, Trusted, advance
from consensus.validators import ValidatorSet
from prsm_node.consensus_host.executor import ChainMark
from prsm_node.genesis import Genesis
from prsm_node.identity.ed25519 import verify
from prsm_node.storage.journal_segments import first_position
from prsm_node.storage.snapshot_manifest import Manifest
from prsm_node.trusted_block import TrustedBlock


class Untrusted(Exception):
    """What was shown does not follow from what this home trusts; the message says why."""


def prove(
    manifest: Manifest,
    genesis: Genesis,
    trusted: TrustedBlock | None = None,
    itself: Block | None = None,
    linked: bytes | None = None,
) -> None:
    """Raise Untrusted unless the manifest's state is the chain's.

    `trusted` goes before the genesis. `itself` is that block, whose hash the caller compared: where it lies
    below the snapshot it names the set that the step is taken from. Where it lies above, `linked` is the
    digest at the height of the block that names the root, found by walking down from it (header_walk.py).
    """
    _check_lanes(manifest, genesis.hash)
    sets = _sets_of(manifest)
    if trusted is None or trusted.height == 0:
        first = ValidatorSet.of((v.key, v.power) for v in genesis.validators)
        base = Trusted(0, genesis.hash, first)
    else:
        naming = manifest.blocks[-1]
        if trusted.height > naming.height:
            if linked is None:
                raise Untrusted(
                    f"no way is known to it from the trusted block {trusted.height}, which is newer"
                )
            if linked != block_digest(naming):
                raise Untrusted(
                    f"the trusted block {trusted.height} has another block {naming.height} below it"
                )
            return
        if trusted.height >= manifest.height:
            itself = manifest.blocks[trusted.height - manifest.height]
            if block_digest(itself) != trusted.hash:
                raise Untrusted(f"it has another block at height {trusted.height} than the one trusted")
            if itself is naming:
                return
        if itself is None:
            raise Untrusted(f"the trusted block {trusted.height} is not at hand to follow the chain from")
        base = Trusted(itself.height, trusted.hash, _named(sets, itself))
    _, above, naming = manifest.blocks
    step = LightBlock(naming, manifest.certificate, _named(sets, above), _named(sets, naming), above)
    try:
        advance(base, step, genesis.hash, verify)
    except LightFault as fault:
        raise Untrusted(f"it does not follow from the trusted height {base.height}: {fault}") from None


def mark_of(manifest: Manifest, journal_from: int = first_position(0)) -> ChainMark:
    """Return what lets a replica take the chain up from a proven snapshot; `journal_from` is where the home's
    journal begins, if it has one."""
    head, (block, above, _) = manifest.head, manifest.blocks
    return ChainMark(
        height=head.height,
        time_ms=head.time_ms,
        digest=head.digest,
        heads=manifest.lanes,
        roots=((head.height - 1, above.state_root), (head.height, head.root)),
        # Older work is no matter: its root stands in a decided header.
        last_work=head.height if block.works else 0,
        journal_from=journal_from,
    )


def _check_lanes(manifest: Manifest, network: bytes) -> None:
    """The root covers what they order; that their authors signed them is for who asks for proof later."""
    for header in manifest.lanes:
        if not verify(header.author, header.signature, batch_signed_bytes(network, header)):
            raise Untrusted(f"the signature of lane {header.author.hex()[:8]} is not good")


def _sets_of(manifest: Manifest) -> dict[bytes, ValidatorSet]:
    """Return by hash the sets that it says were in force; a set is what a trusted header names."""
    try:
        return {term.set.hash: term.set for term in manifest.head.roster.terms}
    except ValueError as error:
        raise Untrusted(f"a validator set of it is none: {error}") from None


def _named(sets: dict[bytes, ValidatorSet], block: Block) -> ValidatorSet:
    found = sets.get(block.next_validators)
    if found is None:
        raise Untrusted(f"the validator set that block {block.height} names is not in it")
    return found
