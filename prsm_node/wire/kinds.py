"""The kinds of frames, and in one table what each is held to: size, rate, order of leaving, payload.

A frame carries messages of one kind. A size bounds the whole frame; single messages are bounded by their
types. A rate bounds what one link may bring; a burst of two seconds' worth is allowed. Over it, messages are
dropped before their signature is checked, counted, and the peer is scored.
"""

from enum import IntEnum
from typing import Any

import msgspec

from consensus.blocks import Proposal
from consensus.certificates import Certificate
from consensus.dissemination.acknowledgements import Acknowledgement, TipCertificate
from consensus.evidence import Evidence
from consensus.votes import Vote
from prsm_node.wire import payloads

FRAME_BYTES_MAX = 1024 * 1024
"""Of any frame, its length prefix not counted."""
KIB = 1024


class Kind(IntEnum):
    """One number for each kind; a number is never used again for another."""

    HELLO = 1
    HEARTBEAT = 2
    PEERS = 3
    PROPOSAL = 10
    VOTE = 11
    CERTIFICATE = 12
    COMMITTED = 13
    EVIDENCE = 14
    TRANSACTIONS = 20
    BATCH = 21
    ACKNOWLEDGEMENT = 22
    TIP_CERTIFICATE = 23
    REQUEST = 30
    RESPONSE = 31
    GOSSIP = 40
    HAVE = 41
    WANT = 42


class Priority(IntEnum):
    """Which frames leave first when several wait."""

    AGREEMENT = 0
    """A round waits for it. Greetings too, as the lowest kind of all: nothing else is heard before them."""
    LINK = 1
    """Small, and a peer's patience hangs on it."""
    DISSEMINATION = 2
    """A transfer waits for it."""
    BULK = 3
    """Large or repairable: the oldest are dropped when a queue is full."""


class KindRules(msgspec.Struct, frozen=True):
    """What one kind is held to."""

    payload: Any
    """The type of one message."""
    priority: Priority
    frame_bytes_max: int
    messages_per_s: int
    """On one link; the bucket holds two seconds' worth."""
    bytes_per_s: int
    decoder: msgspec.msgpack.Decoder[list[Any]]
    """Of a frame's payload, all its messages at once."""


def _rules(
    payload: Any, priority: Priority, frame_bytes_max: int, messages_per_s: int, bytes_per_s: int
) -> KindRules:
    assert 0 < frame_bytes_max <= FRAME_BYTES_MAX, f"a frame of {frame_bytes_max} bytes fits no stream"
    assert bytes_per_s * 2 >= frame_bytes_max, f"a full frame of {frame_bytes_max} bytes would never pass"
    decoder: msgspec.msgpack.Decoder[list[Any]] = msgspec.msgpack.Decoder(list[payload])
    return KindRules(payload, priority, frame_bytes_max, messages_per_s, bytes_per_s, decoder)


# The arithmetic: n = 256 validators, rounds of at least 30 ms, so at most 33 heights or rounds a second.
# HELLO            two messages a link in its life.
# HEARTBEAT        one a second by default, ten where it is tuned down to 0.1 s.
# PEERS            one on linking and one each 30 s, 64 addresses of at most 256 bytes: 17 KB.
# PROPOSAL         33/s and as many sent again, each at most 54 KB (256 tips of 75 bytes, a polka of 27 KB,
#                  16 pieces of evidence of 400 bytes).
# VOTE             its validator's 2 votes a round: 66/s; one that forwards others' after a silence may bring
#                  2 x 256 of 190 bytes at once, twice: 1,024 a second, 97 KB in a frame of 512.
# CERTIFICATE      a polka and a commit a round, 66/s, as many again on Agreement 2's timer; 27 KB each.
# COMMITTED        one a height for who lags, 33/s, 54 KB each.
# EVIDENCE         four pieces of each of 256 validators, 400 bytes each, once and again each 16 heights: what
#                  is dropped here comes again. A piece costs two checks, so 64/s are 0.4 % of a core.
# TRANSACTIONS     5,800 final transfers/s is the ceiling; one link may bring them all, doubled; 250 bytes
#                  each, and memos and multi-transfers up to 16 KiB within the bytes.
# BATCH            a batch closes after 10 ms: 100/s, as many sent again; 5,800 transfers of 250 bytes are
#                  1.5 MB/s, four times over 6, and what was missed comes as well: 32 MB/s, a third of what
#                  a stream carries.
# ACKNOWLEDGEMENT  one for each of our batches: 100/s, doubled; a returning voter gives the window's: 1,000.
# TIP_CERTIFICATE  one for each batch of the author, 100/s, doubled; 26 KB at n = 256, 500 bytes at 4.
# REQUEST          a syncing peer has 16 out, answered in 10 ms at best: 1,600/s.
# RESPONSE         what we asked for; unasked ones are faults by themselves. The stream's 84 MB/s in parts of
#                  256 KiB are 336/s, small answers as many as requests.
# GOSSIP           transactions handed on: as TRANSACTIONS.
# HAVE, WANT       one each heartbeat, of at most 1,024 digests: 35 KB.
KINDS: dict[Kind, KindRules] = {
    Kind.HELLO: _rules(payloads.Hello, Priority.AGREEMENT, 8 * KIB, 4, 16 * KIB),
    Kind.HEARTBEAT: _rules(payloads.Heartbeat, Priority.LINK, KIB, 50, 16 * KIB),
    Kind.PEERS: _rules(payloads.Peers, Priority.BULK, 32 * KIB, 5, 32 * KIB),
    Kind.PROPOSAL: _rules(Proposal, Priority.AGREEMENT, 256 * KIB, 100, 4_000 * KIB),
    Kind.VOTE: _rules(Vote, Priority.AGREEMENT, 128 * KIB, 2_048, 512 * KIB),
    Kind.CERTIFICATE: _rules(Certificate, Priority.AGREEMENT, 256 * KIB, 256, 8_000 * KIB),
    Kind.COMMITTED: _rules(payloads.Committed, Priority.AGREEMENT, 512 * KIB, 100, 5_000 * KIB),
    Kind.EVIDENCE: _rules(Evidence, Priority.LINK, 64 * KIB, 64, 32 * KIB),
    Kind.TRANSACTIONS: _rules(
        payloads.TransactionBytes, Priority.DISSEMINATION, 512 * KIB, 12_000, 8_000 * KIB
    ),
    Kind.BATCH: _rules(payloads.Batch, Priority.DISSEMINATION, 1024 * KIB, 500, 32_000 * KIB),
    Kind.ACKNOWLEDGEMENT: _rules(Acknowledgement, Priority.DISSEMINATION, 128 * KIB, 2_000, 512 * KIB),
    Kind.TIP_CERTIFICATE: _rules(TipCertificate, Priority.DISSEMINATION, 256 * KIB, 500, 8_000 * KIB),
    Kind.REQUEST: _rules(payloads.Request, Priority.LINK, 16 * KIB, 2_000, 256 * KIB),
    Kind.RESPONSE: _rules(payloads.Response, Priority.BULK, 512 * KIB, 2_000, 84_000 * KIB),
    Kind.GOSSIP: _rules(payloads.Gossip, Priority.BULK, 512 * KIB, 12_000, 8_000 * KIB),
    Kind.HAVE: _rules(payloads.Digests, Priority.BULK, 64 * KIB, 50, 256 * KIB),
    Kind.WANT: _rules(payloads.Digests, Priority.BULK, 64 * KIB, 50, 256 * KIB),
}
assert set(KINDS) == set(Kind), "every kind has its rules"
