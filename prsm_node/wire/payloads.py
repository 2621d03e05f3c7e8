"""What the messages of each kind carry, as Structs whose bounds decoding enforces.

Consensus types are used as they are: they carry a validator's own signature and stand without their frame.
Here are the ones that belong to a link: greetings, heartbeats, requests and their answers, gossip. All are
msgpack arrays; a field is never taken away or given another meaning: a new version of the frame is made.
"""

from enum import IntEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from consensus.blocks import Block
from consensus.bounds import Digest, Height, Sequence, Signature, ValidatorKey
from consensus.certificates import Certificate
from consensus.dissemination.batches import BatchHeader
from consensus.signing import SignedKind, signed_bytes
from prsm_node.ledger.bucket_groups import GROUPS_MAX
from prsm_node.ledger.transactions import TRANSACTION_BYTES_MAX

# 2,000 transfers of 250 bytes; a batch closes at 64 KB unless a lane lags behind its senders.
BATCH_BODY_BYTES_MAX = 512 * 1024
# A part is at most 256 KiB, so that a vote waits 3 ms behind one (84 MB/s, the slowest measured), and 64 of
# them carry 16 MiB: 64 blocks with certificates of 256 validators are 64 x 46 KB = 3 MB.
PART_BYTES_MAX = 256 * 1024
PARTS_MAX = 64
BLOCKS_WANTED_MAX = 64
BLOCK_BATCHES_MAX = 256 * 4_096
"""Of 256 lanes, each advanced by the most that a genesis may allow."""
# 1,024 headers of four validators are 0.4 MB; of 256 that all advance, the answer's bound in bytes cuts it.
HEADERS_WANTED_MAX = 1_024
ADDRESS_LENGTH_MAX = 256  # /dns4/<253 characters at most>/tcp/... is rarer than a bound is useful
ADDRESSES_MAX = 8  # of one node
PEERS_MAX = 64  # addresses in one PEERS message
GOSSIP_BYTES_MAX = 64 * 1024
DIGESTS_MAX = 1_024  # in one HAVE or WANT: 35 KB

Challenge = Annotated[bytes, Meta(min_length=32, max_length=32)]
Instance = Annotated[bytes, Meta(min_length=8, max_length=8)]
SessionId = Annotated[bytes, Meta(min_length=8, max_length=32)]
Multiaddress = Annotated[str, Meta(max_length=ADDRESS_LENGTH_MAX)]
Addresses = Annotated[tuple[Multiaddress, ...], Meta(max_length=ADDRESSES_MAX)]
RequestId = Annotated[int, Meta(ge=1, le=2**62)]
Counter = Annotated[int, Meta(ge=0, le=2**62)]


class Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A message of a link."""


class Greeting(Message, frozen=True, tag=1):
    """HELLO, first: who is here. Each side sends it at once, before anything else."""

    genesis: Digest
    version: Annotated[str, Meta(max_length=64)]
    """Of the software."""
    listen: Addresses
    height: Height
    challenge: Challenge
    """Fresh for this link; the peer's session proof is made over it."""
    instance: Instance
    """Random for each run of the daemon: of two links to one node, one to an earlier run is dead."""
    validator: ValidatorKey | None = None
    """A key whose session proof follows, or None."""


class SessionProof(Message, frozen=True, tag=2):
    """HELLO, second: this link's node runs `validator`, in a session that it made itself (PROTOCOL, Twin)."""

    validator: ValidatorKey
    session: SessionId
    signature: Signature


Hello = Greeting | SessionProof


def session_signed_bytes(network: bytes, node_key: bytes, session: bytes, challenge: bytes) -> bytes:
    """Return what a validator signs to claim a link: no other node, session or link can use it again."""
    return signed_bytes(network, SignedKind.SESSION, msgspec.msgpack.encode((node_key, session, challenge)))


class Heartbeat(Message, frozen=True):
    """HEARTBEAT: alive, at this height. The echo gives the peer a round trip time without another frame."""

    height: Height
    """Executed."""
    number: Counter
    echo: Counter
    """The number of the last heartbeat received from the peer; 0 for none."""
    held_us: Counter
    """How long ago that was, microseconds."""


Peers = Annotated[tuple[Multiaddress, ...], Meta(max_length=PEERS_MAX)]
"""PEERS: addresses, each ending in /p2p/<peer id>, of nodes the sender is linked to."""


class Committed(Message, frozen=True):
    """COMMITTED: a block and the certificate that decides it."""

    block: Block
    certificate: Certificate


TransactionBytes = Annotated[bytes, Meta(max_length=TRANSACTION_BYTES_MAX)]
"""TRANSACTIONS: one raw transaction."""


class Batch(Message, frozen=True):
    """BATCH: a header and its body, the msgpack list of raw transactions."""

    header: BatchHeader
    body: Annotated[bytes, Meta(max_length=BATCH_BODY_BYTES_MAX)]


class BatchWanted(Message, frozen=True, tag=1):
    digest: Digest


class BlocksWanted(Message, frozen=True, tag=2):
    """Decided blocks from a height on, with their certificates; fewer than `count` is a good answer."""

    from_height: Height
    count: Annotated[int, Meta(ge=1, le=BLOCKS_WANTED_MAX)]


class CertificateWanted(Message, frozen=True, tag=3):
    """The certificate of a lane's tip."""

    author: ValidatorKey
    sequence: Sequence
    digest: Digest


class BlockWanted(Message, frozen=True, tag=4):
    """A block by its value, decided or only proposed."""

    height: Height
    value: Digest


class GenesisWanted(Message, frozen=True, tag=5):
    """The genesis document."""


class SequenceWanted(Message, frozen=True, tag=6):
    """The last sequence of a lane that the peer knows (PROTOCOL, Lanes 6)."""

    author: ValidatorKey


class SignedWanted(Message, frozen=True, tag=7):
    """The message of the highest (height, round, step) signed with this key that the peer knows (PROTOCOL,
    Twin)."""

    validator: ValidatorKey


class SessionWanted(Message, frozen=True, tag=8):
    """A live session of this key besides the asker's, proven over the asker's challenge (PROTOCOL, Twin).

    Who runs the key signs the challenge; who is linked to one that does hands the question on, once.
    """

    validator: ValidatorKey
    challenge: Challenge


class HeadersWanted(Message, frozen=True, tag=9):
    """Decided blocks without their certificates, by height and downwards from the one given, so that each
    names the next by its parent; fewer than `count` is a good answer."""

    height: Height
    count: Annotated[int, Meta(ge=1, le=HEADERS_WANTED_MAX)]


class SnapshotWanted(Message, frozen=True, tag=10):
    """The manifest of the newest snapshot that the peer has, of a height above this one."""

    above: Height


class GroupWanted(Message, frozen=True, tag=11):
    """One group of the accounts in the snapshot of a height; the hash says which is meant."""

    height: Height
    index: Annotated[int, Meta(ge=0, lt=GROUPS_MAX)]
    hash: Digest


class RestWanted(Message, frozen=True, tag=12):
    """The batches of a decided block that is too large for one answer, but for the first so many: the newest
    of a lane first, lanes in order of author. Fewer than there are is a good answer."""

    height: Height
    skip: Annotated[int, Meta(ge=0, le=BLOCK_BATCHES_MAX)]


Wanted = (
    BatchWanted
    | BlocksWanted
    | CertificateWanted
    | BlockWanted
    | GenesisWanted
    | SequenceWanted
    | SignedWanted
    | SessionWanted
    | HeadersWanted
    | SnapshotWanted
    | GroupWanted
    | RestWanted
)


class Request(Message, frozen=True):
    """REQUEST: the id is the asker's, for this link."""

    id: RequestId
    wanted: Wanted


class Outcome(IntEnum):
    """What became of a question."""

    ABSENT = 0
    """The answerer does not have it."""
    FOUND = 1
    BUSY = 2
    """It may have it, but not for this asker now: the asker's budget is spent. Ask again later."""


class Response(Message, frozen=True):
    """RESPONSE: one part of the answer to a request, in order; all but FOUND have one empty part."""

    id: RequestId
    outcome: Outcome
    part: Annotated[int, Meta(ge=0, lt=PARTS_MAX)]
    parts: Annotated[int, Meta(ge=1, le=PARTS_MAX)]
    body: Annotated[bytes, Meta(max_length=PART_BYTES_MAX)]


class Gossip(Message, frozen=True):
    """GOSSIP: bytes for everybody, named by their digest; the topic says who reads them."""

    topic: Annotated[int, Meta(ge=0, le=255)]
    body: Annotated[bytes, Meta(max_length=GOSSIP_BYTES_MAX)]


Digests = Annotated[tuple[Digest, ...], Meta(max_length=DIGESTS_MAX)]
"""HAVE: gossip the sender can give. WANT: gossip the sender asks for."""
