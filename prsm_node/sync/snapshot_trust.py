"""Whether a snapshot is of the chain that this home trusts: its root, certified, followed from there.

The home trusts its genesis, or the block that its invite vouches for (PROTOCOL, Joining). From it the block
that names the snapshot's root is reached by one step of a light client for each change of the set between
them, and one more: each takes a quorum of the set before it (consensus/light.py). Or by a walk down from a
newer trusted block: each header names its parent.

What a home takes over it shows to others, who blame it for what is wrong. So the way from the genesis and all
signatures are checked whatever the home trusts.
"""

import msgspec

from consensus.blocks import Block, block_digest
from consensus.dissemination.batches import batch_signed_bytes
from consensus.light import LightBlock, LightFault, Trusted, advance, follow
from consensus.validators import ValidatorSet
from prsm_node.consensus_host.chain_mark import MARK, ChainMark
from prsm_node.genesis import Genesis
from prsm_node.identity.ed25519 import verify
from prsm_node.storage import set_changes
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
    _check_sets(manifest, genesis)
    if trusted is None or trusted.height == 0:
        return
    naming = manifest.blocks[-1]
    if trusted.height > naming.height:
        if linked is None:
            raise Untrusted(f"no way is known to it from the trusted block {trusted.height}, which is newer")
        if linked != block_digest(naming):
            raise Untrusted(f"the trusted block {trusted.height} has another block {naming.height} below it")
        return
    if trusted.height >= manifest.height:
        itself = manifest.blocks[trusted.height - manifest.height]
        if block_digest(itself) != trusted.hash:
            raise Untrusted(f"it has another block at height {trusted.height} than the one trusted")
    if itself is None:
        raise Untrusted(f"the trusted block {trusted.height} is not at hand to follow the chain from")
    # From the set that the trusted block names on, the way is the one that was followed.
    if manifest.head.roster.term(itself.height + 1).set.hash != itself.next_validators:
        raise Untrusted(f"the trusted block {itself.height} names another validator set than it has there")


def meta_of(manifest: Manifest, journal_from: int = first_position(0)) -> dict[bytes, bytes]:
    """Return what is kept beside a state that is restored from a proven snapshot."""
    changes = [change for change in manifest.changes if change.block.height <= manifest.height]
    return {
        MARK: msgspec.msgpack.encode(mark_of(manifest, journal_from)),
        set_changes.SET_CHANGES: set_changes.encode(changes),
    }


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


def _check_sets(manifest: Manifest, genesis: Genesis) -> None:
    """Follow the sets of the roster from the genesis up to the block that names the root, and that one."""
    _, above, naming = manifest.blocks
    network, roster = genesis.hash, manifest.head.roster
    base = Trusted(0, network, ValidatorSet.of((v.key, v.power) for v in genesis.validators))
    if roster.terms[0].begin != 1:
        raise Untrusted(f"its roster begins at height {roster.terms[0].begin}")
    terms = [term for term in roster.terms if term.begin <= naming.height]
    try:
        sets = [term.set for term in terms]
        named = roster.term(naming.height + 1).set
    except ValueError as error:
        raise Untrusted(f"a validator set of it is none: {error}") from None
    if sets[0] != base.next_set:
        raise Untrusted("its roster does not begin with the set of the genesis")
    if [change.block.height + 1 for change in manifest.changes] != [term.begin for term in terms[1:]]:
        raise Untrusted("it does not show each change of the validator set")
    try:
        for change, after in zip(manifest.changes, sets[1:], strict=True):
            base = follow(base, change, network, verify)
            if base.next_set != after:
                raise Untrusted(f"block {base.height} names another validator set than its roster has")
        step = LightBlock(naming, manifest.certificate, base.next_set, named, above)
        advance(base, step, network, verify)
    except LightFault as fault:
        raise Untrusted(f"it does not follow from height {base.height}: {fault}") from None
