"""One message of every kind, the same at every run, for golden files and round trips."""

from typing import Any

from consensus.blocks import Block, Proposal, Tip
from consensus.certificates import Certificate, CertificateVote
from consensus.dissemination.acknowledgements import Acknowledgement, TipCertificate
from consensus.dissemination.batches import EMPTY_LANE, BatchHeader
from consensus.evidence import (
    AcknowledgementEquivocation,
    Amnesia,
    BatchEquivocation,
    Evidence,
    ProposalEquivocation,
    VoteEquivocation,
)
from consensus.proposal_header import ProposalHeader
from consensus.votes import Vote, VoteKind
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.wire import payloads
from prsm_node.wire.kinds import Kind

NETWORK = bytes(range(32))
NODE = SigningKey.from_seed(b"node of the golden files, 32 by.")
AUTHOR, VOTER = b"\xa1" * 32, b"\xb2" * 32
VALUE, DIGEST, SIGNATURE = b"\x11" * 32, b"\x22" * 32, b"\x33" * 64

PIECES: tuple[Evidence, ...] = (
    VoteEquivocation(
        Vote(VoteKind.PREVOTE, 7, 1, VALUE, -1, 0, VOTER, SIGNATURE),
        Vote(VoteKind.PREVOTE, 7, 1, None, -1, 0, VOTER, SIGNATURE),
    ),
    Amnesia(
        Vote(VoteKind.PRECOMMIT, 7, 1, VALUE, -1, 0, VOTER, SIGNATURE),
        Vote(VoteKind.PREVOTE, 7, 3, DIGEST, 1, 0, VOTER, SIGNATURE),
    ),
    ProposalEquivocation(
        ProposalHeader(7, 1, -1, VALUE, AUTHOR, SIGNATURE),
        ProposalHeader(7, 1, -1, DIGEST, AUTHOR, SIGNATURE),
    ),
    BatchEquivocation(
        BatchHeader(AUTHOR, 1, EMPTY_LANE, DIGEST, SIGNATURE),
        BatchHeader(AUTHOR, 1, EMPTY_LANE, VALUE, SIGNATURE),
    ),
    AcknowledgementEquivocation(
        Acknowledgement(AUTHOR, 1, DIGEST, VOTER, SIGNATURE),
        Acknowledgement(AUTHOR, 1, VALUE, VOTER, SIGNATURE),
    ),
)
BLOCK = Block(
    height=7,
    parent=DIGEST,
    time_ms=1_700_000_000_123,
    proposer=AUTHOR,
    tips=(Tip(AUTHOR, 5, DIGEST), Tip(VOTER, 9, VALUE)),
    evidence=PIECES,
    state_root=VALUE,
    next_validators=DIGEST,
)
POLKA = Certificate(VoteKind.PREVOTE, 7, 0, VALUE, (CertificateVote(VOTER, -1, SIGNATURE),))
COMMIT = Certificate(VoteKind.PRECOMMIT, 7, 1, VALUE, (CertificateVote(VOTER, 0, SIGNATURE),))

SAMPLES: dict[Kind, list[Any]] = {
    Kind.HELLO: [
        payloads.Greeting(
            NETWORK, "0.1.0", ("/ip4/127.0.0.1/tcp/7100",), 7, b"\x44" * 32, b"\x55" * 8, VOTER
        ),
        payloads.SessionProof(VOTER, b"\x66" * 16, SIGNATURE),
    ],
    Kind.HEARTBEAT: [payloads.Heartbeat(7, 3, 2, 1_500)],
    Kind.PEERS: [("/ip4/127.0.0.1/tcp/7100", "/dns4/node.example/tcp/7100")],
    Kind.PROPOSAL: [Proposal(1, 0, AUTHOR, BLOCK, POLKA, SIGNATURE), Proposal(0, -1, AUTHOR, BLOCK)],
    Kind.VOTE: [
        Vote(VoteKind.PREVOTE, 7, 1, VALUE, 0, 0, VOTER, SIGNATURE),
        Vote(VoteKind.PRECOMMIT, 7, 1, None, -1, 0, VOTER, SIGNATURE),
    ],
    Kind.CERTIFICATE: [POLKA],
    Kind.COMMITTED: [payloads.Committed(BLOCK, COMMIT)],
    Kind.EVIDENCE: list(PIECES),
    Kind.TRANSACTIONS: [b"a raw transaction", b""],
    Kind.BATCH: [payloads.Batch(BatchHeader(AUTHOR, 1, EMPTY_LANE, DIGEST, SIGNATURE), b"\x91\xc4\x01a")],
    Kind.ACKNOWLEDGEMENT: [Acknowledgement(AUTHOR, 1, DIGEST, VOTER, SIGNATURE)],
    Kind.TIP_CERTIFICATE: [TipCertificate(AUTHOR, 1, DIGEST, ((VOTER, SIGNATURE),))],
    Kind.REQUEST: [
        payloads.Request(1, payloads.BatchWanted(DIGEST)),
        payloads.Request(2, payloads.BlocksWanted(5, 64)),
        payloads.Request(3, payloads.CertificateWanted(AUTHOR, 5, DIGEST)),
        payloads.Request(4, payloads.BlockWanted(7, VALUE)),
        payloads.Request(5, payloads.GenesisWanted()),
        payloads.Request(6, payloads.SequenceWanted(AUTHOR)),
        payloads.Request(7, payloads.SignedWanted(VOTER)),
        payloads.Request(8, payloads.SessionWanted(VOTER, b"\x77" * 32)),
        payloads.Request(9, payloads.HeadersWanted(9_000, 1_024)),
        payloads.Request(10, payloads.SnapshotWanted(9_000)),
        payloads.Request(11, payloads.GroupWanted(10_000, 244, DIGEST)),
        payloads.Request(12, payloads.RestWanted(9_000, 16)),
    ],
    Kind.RESPONSE: [
        payloads.Response(1, payloads.Outcome.FOUND, 0, 2, b"part"),
        payloads.Response(2, payloads.Outcome.ABSENT, 0, 1, b""),
        payloads.Response(3, payloads.Outcome.BUSY, 0, 1, b""),
    ],
    Kind.GOSSIP: [payloads.Gossip(1, b"for everybody")],
    Kind.HAVE: [(DIGEST, VALUE)],
    Kind.WANT: [(DIGEST,)],
}
