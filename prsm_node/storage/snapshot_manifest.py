"""What a snapshot is: the state after one block, whole, in groups that each are named by their hash.

The manifest holds all of the state but the accounts, the hashes of their groups, and what certifies the root
of it all: the block, the two above it, of which the second names the root, and its commit certificate
(PROTOCOL, Blocks 1). The same height gives the same groups on every node, so that they can be fetched from
many; certificates differ. History is not in it: blocks, bodies and the transactions' index begin above.
"""

from typing import Annotated, Final

import msgspec

from consensus.blocks import Block, Tip, block_digest
from consensus.bounds import VALIDATORS_MAX, Digest
from consensus.certificates import Certificate
from consensus.dissemination.batches import BatchHeader, batch_digest
from consensus.light import SetChange
from prsm_node.ledger.bucket_groups import GROUPS_MAX, group_count, root_of_groups
from prsm_node.ledger.lanes import LANES_MAX
from prsm_node.ledger.roots import state_root
from prsm_node.storage.generation import SCHEMA, Head
from prsm_node.unreadable import UNREADABLE

# 8 MiB of hashes; 6 MB of changes if 256 validators leave the set one by one (of 100 + 45 + 75 bytes for each
# member that is left: vote, key, tip); and the rest. An answer may have 16 MiB.
MANIFEST_BYTES_MAX: Final = 15 * 2**20


class BrokenManifest(Exception):
    """The manifest is none, or does not hold together; the message says where."""


class OtherSchema(BrokenManifest):
    """Another version of the program made it: honest perhaps, and of no use here."""


class Manifest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Decode with `decode`: a Manifest in hand holds together, but for signatures and trust."""

    head: Head
    lanes: Annotated[tuple[BatchHeader, ...], msgspec.Meta(max_length=LANES_MAX)]
    """The last batch ordered of each lane, with its author's signature (PROTOCOL, Lanes 6)."""
    groups: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=GROUPS_MAX)]
    blocks: tuple[Block, Block, Block]
    """At the snapshot's height and the two above."""
    certificate: Certificate
    """Of the last of them, which names the root."""
    changes: Annotated[tuple[SetChange, ...], msgspec.Meta(max_length=VALIDATORS_MAX)] = ()
    """How the set of that last height came of the genesis': each block below that changed it, in order."""

    @property
    def height(self) -> int:
        return self.head.height

    @property
    def accounts(self) -> int:
        return self.head.accounts

    @property
    def tips(self) -> tuple[Tip, ...]:
        return tuple(Tip(header.author, header.sequence, batch_digest(header)) for header in self.lanes)


class _HeadOfAny(msgspec.Struct, frozen=True, array_like=True):
    schema: int


class _AnyManifest(msgspec.Struct, frozen=True, array_like=True):
    """What manifests of all versions begin with."""

    head: _HeadOfAny


_decoder = msgspec.msgpack.Decoder(Manifest)
_schema_decoder = msgspec.msgpack.Decoder(_AnyManifest)


def encode(manifest: Manifest) -> bytes:
    return msgspec.msgpack.encode(manifest)


def decode(data: bytes) -> Manifest:
    """Return the manifest; raise BrokenManifest for bytes that are none, or do not hold together."""
    if len(data) > MANIFEST_BYTES_MAX:
        raise BrokenManifest(f"{len(data)} bytes are more than a manifest's {MANIFEST_BYTES_MAX}")
    try:
        manifest = _decoder.decode(data)
    except UNREADABLE as error:
        if (schema := _schema_of(data)) not in (None, SCHEMA):
            raise _other(schema) from None
        raise BrokenManifest(f"it can't be read: {error}") from None
    _check(manifest)
    return manifest


def _other(schema: int | None) -> OtherSchema:
    return OtherSchema(f"head.schema is {schema}; this version of the program knows {SCHEMA}")


def _schema_of(data: bytes) -> int | None:
    """Return the schema that bytes of whatever layout name where every version does: first of all."""
    try:
        return _schema_decoder.decode(data).head.schema
    except UNREADABLE:
        return None


def _check(manifest: Manifest) -> None:
    head, (block, above, naming) = manifest.head, manifest.blocks
    if head.schema != SCHEMA:
        raise _other(head.schema)
    if head.height < 1:
        raise BrokenManifest("head.height is 0; the genesis needs no snapshot")
    if [b.height for b in manifest.blocks] != [head.height, head.height + 1, head.height + 2]:
        raise BrokenManifest(f"blocks are not those of height {head.height} and the two above")
    if (block_digest(block), block.time_ms) != (head.digest, head.time_ms):
        raise BrokenManifest("head.digest is not that of the block at its height")
    if (above.parent, naming.parent) != (head.digest, block_digest(above)):
        raise BrokenManifest("blocks do not follow one another")
    if naming.state_root != head.root:
        raise BrokenManifest("head.root is not the one that the block two above names")
    certificate = manifest.certificate
    if (certificate.height, certificate.value) != (naming.height, block_digest(naming)):
        raise BrokenManifest("certificate is for another block than the one that names the root")
    if manifest.tips != head.lanes.tips:
        raise BrokenManifest("lanes are not the batches that the state's lanes end with")
    if group_count(head.accounts) != len(manifest.groups):
        raise BrokenManifest(f"groups are {len(manifest.groups)}, of {head.accounts} accounts")
    if state_root(root_of_groups(head.accounts, manifest.groups), *head.others) != head.root:
        raise BrokenManifest("groups and the rest of the state do not lead to head.root")
