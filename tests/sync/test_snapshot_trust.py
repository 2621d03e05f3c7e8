"""Whose snapshot is taken: what follows from the genesis or the trusted block, and nothing else."""

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from consensus.blocks import block_digest
from consensus.dissemination.batches import EMPTY_LANE, BatchHeader, batch_signed_bytes
from consensus.light import SetChange
from consensus.validators import ValidatorSet
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.ledger.roster import Member, Roster, Term
from prsm_node.storage import set_changes
from prsm_node.storage.generation import Head
from prsm_node.storage.snapshot_manifest import Manifest
from prsm_node.sync.snapshot_trust import Untrusted, mark_of, meta_of, prove
from prsm_node.trusted_block import TrustedBlock
from tests.sync.certified_chain import KEYS, SET, CertifiedChain, snapshot_at


@pytest.fixture
async def shown(tmp_path: Path) -> tuple[CertifiedChain, Manifest]:
    chain = CertifiedChain()
    return chain, (await snapshot_at(chain, tmp_path, 5, above=6)).manifest


def trusted(chain: CertifiedChain, height: int) -> TrustedBlock:
    return TrustedBlock(height, block_digest(chain.headers[height]), 0)


def with_terms(manifest: Manifest, *sets: tuple[tuple[bytes, int], ...]) -> Head:
    terms = tuple(Term(n, tuple(Member(*pair) for pair in pairs)) for n, pairs in enumerate(sets, start=1))
    return replace(manifest.head, roster=Roster(terms))


async def test_a_quorum_of_the_genesis_set_proves_a_snapshot(shown: tuple[CertifiedChain, Manifest]) -> None:
    chain, manifest = shown
    prove(manifest, chain.genesis)
    prove(manifest, chain.genesis, TrustedBlock(0, chain.genesis.hash, 0))
    for signers in (KEYS[:2], KEYS[:1]):
        few = replace(manifest, certificate=chain.commit(manifest.blocks[-1], signers))
        with pytest.raises(Untrusted, match="weighs"):
            prove(few, chain.genesis)
    other = CertifiedChain(name="other")
    with pytest.raises(Untrusted, match="not good"):
        prove(manifest, other.genesis)


async def test_another_set_proves_nothing_whatever_it_signs(
    shown: tuple[CertifiedChain, Manifest],
) -> None:
    chain, manifest = shown
    strangers = [SigningKey.from_seed(bytes([90 + n]) * 32) for n in range(4)]
    theirs = ValidatorSet((key.public, 1) for key in strangers)
    block, above, naming = manifest.blocks
    above = replace(above, next_validators=theirs.hash)
    naming = replace(naming, parent=block_digest(above))
    forged = replace(
        manifest,
        blocks=(block, above, naming),
        certificate=chain.commit(naming, strangers),
        head=with_terms(manifest, SET.pairs(), theirs.pairs()),
    )
    with pytest.raises(Untrusted, match="does not show each change"):
        prove(forged, chain.genesis)
    change = SetChange(manifest.blocks[0], chain.commit(manifest.blocks[0], KEYS), SET.pairs())
    with pytest.raises(Untrusted, match="does not show each change"):
        prove(replace(forged, changes=(change,)), chain.genesis)
    with pytest.raises(Untrusted, match="another set than its parent names"):
        prove(replace(forged, head=manifest.head), chain.genesis)
    with pytest.raises(Untrusted, match="does not begin with the set of the genesis"):
        prove(replace(forged, head=with_terms(manifest, theirs.pairs())), chain.genesis)
    late = replace(manifest.head, roster=Roster((Term(9, manifest.head.roster.terms[0].members),)))
    with pytest.raises(Untrusted, match="begins at height 9"):
        prove(replace(forged, head=late), chain.genesis)
    twice = with_terms(manifest, (SET.pairs()[0],) * 2)
    with pytest.raises(Untrusted, match="is none"):
        prove(replace(forged, head=twice), chain.genesis)


async def test_a_trusted_block_below_within_or_above_is_followed(
    shown: tuple[CertifiedChain, Manifest],
) -> None:
    chain, manifest = shown
    assert manifest.height == 5
    prove(manifest, chain.genesis, trusted(chain, 3), itself=chain.headers[3])
    with pytest.raises(Untrusted, match="not at hand"):
        prove(manifest, chain.genesis, trusted(chain, 3))
    for height in (5, 6, 7):
        prove(manifest, chain.genesis, trusted(chain, height))
        with pytest.raises(Untrusted, match="another block at height"):
            prove(manifest, chain.genesis, TrustedBlock(height, bytes(32), 0))
    prove(manifest, chain.genesis, trusted(chain, 9), linked=block_digest(chain.headers[7]))
    with pytest.raises(Untrusted, match="no way is known"):
        prove(manifest, chain.genesis, trusted(chain, 9))
    with pytest.raises(Untrusted, match="another block 7 below"):
        prove(manifest, chain.genesis, trusted(chain, 9), linked=bytes(32))


async def test_what_others_would_blame_us_for_is_refused_whatever_we_trust(
    shown: tuple[CertifiedChain, Manifest],
) -> None:
    chain, manifest = shown
    unsigned = replace(manifest, certificate=chain.commit(manifest.blocks[-1], KEYS[:1]))
    for trust, linked in ((7, None), (9, block_digest(chain.headers[7]))):
        with pytest.raises(Untrusted, match="weighs 1 of 4"):
            prove(unsigned, chain.genesis, trusted(chain, trust), linked=linked)


@pytest.fixture
async def jailing(tmp_path: Path) -> tuple[CertifiedChain, Manifest]:
    """Blocks 1 and 3 convict: the sets of 4 and 6 are each one less, named by blocks 3 and 5."""
    chain = CertifiedChain()
    chain.convicts = {1: KEYS[3], 3: KEYS[2]}
    return chain, (await snapshot_at(chain, tmp_path, 4, above=6)).manifest


async def test_a_snapshot_above_jailings_shows_each_change_of_the_set(
    jailing: tuple[CertifiedChain, Manifest],
) -> None:
    chain, manifest = jailing
    assert [change.block.height for change in manifest.changes] == [3, 5]
    prove(manifest, chain.genesis)
    for height in (1, 2, 3):
        prove(manifest, chain.genesis, trusted(chain, height), itself=chain.headers[height])
    for height in (4, 5, 6):
        prove(manifest, chain.genesis, trusted(chain, height))
    prove(manifest, chain.genesis, trusted(chain, 8), linked=block_digest(chain.headers[6]))
    for changes in ((), manifest.changes[:1], manifest.changes[::-1], manifest.changes * 2):
        with pytest.raises(Untrusted, match="each change of the validator set"):
            prove(replace(manifest, changes=changes), chain.genesis)
    kept = msgspec.msgpack.decode(meta_of(manifest)[set_changes.SET_CHANGES], type=tuple[SetChange, ...])
    assert kept == manifest.changes[:1], "the block above the snapshot is executed, and kept then"


async def test_the_jailed_hand_the_set_to_nobody(jailing: tuple[CertifiedChain, Manifest]) -> None:
    """They are half of the genesis' set, and of no set since."""
    chain, manifest = jailing
    first, second = manifest.changes
    for forged, says in (
        (replace(first, certificate=chain.commit(first.block, KEYS[2:])), "weighs 2 of 4"),
        (replace(first, next_validators=SET.pairs()), "names another next set"),
    ):
        with pytest.raises(Untrusted, match=says):
            prove(replace(manifest, changes=(forged, second)), chain.genesis)
    again = replace(second, certificate=chain.commit(second.block, [KEYS[0], KEYS[1], KEYS[3]]))
    with pytest.raises(Untrusted, match="is not in its set"):
        prove(replace(manifest, changes=(first, again)), chain.genesis)


async def test_a_lane_whose_author_did_not_sign_is_refused(shown: tuple[CertifiedChain, Manifest]) -> None:
    chain, manifest = shown
    header = BatchHeader(KEYS[1].public, 3, EMPTY_LANE, bytes(32))
    signed = replace(header, signature=KEYS[1].sign(batch_signed_bytes(chain.genesis.hash, header)))
    prove(replace(manifest, lanes=(signed,)), chain.genesis)
    with pytest.raises(Untrusted, match="signature of lane"):
        prove(replace(manifest, lanes=(replace(signed, signature=bytes(64)),)), chain.genesis)


async def test_the_chain_is_taken_up_where_the_snapshot_stands(
    shown: tuple[CertifiedChain, Manifest],
) -> None:
    chain, manifest = shown
    mark = mark_of(manifest)
    assert (mark.height, mark.digest) == (5, block_digest(chain.headers[5]))
    assert dict(mark.roots) == {4: chain.headers[6].state_root, 5: chain.headers[7].state_root}
