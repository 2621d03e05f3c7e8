"""What peers send, checked from cheap to dear, then fed to the replica as inputs.

The replica is asked first whether it wants a thing at all; only then does a signature cost CPU. Handlers
never raise over a peer's bytes: a forged or malformed thing is counted and the peer scored.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from hashlib import sha256
from typing import Any, Protocol

import structlog
import trio

from consensus.blocks import Block, Proposal, block_digest
from consensus.certificates import Certificate, CheckedCertificate
from consensus.dissemination.acknowledgements import Acknowledgement, TipCertificate, members_only
from consensus.dissemination.batches import BatchHeader, CheckedBatch, batch_digest
from consensus.evidence import Evidence, clashes
from consensus.inputs import (
    AcknowledgementReceived,
    BatchReceived,
    BlockReceived,
    CertificateReceived,
    EvidenceReceived,
    ProposalReceived,
    TipCertificateReceived,
)
from consensus.votes import Vote, VoteKind, well_formed
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.fetcher import BlockAnswer
from prsm_node.consensus_host.host import ConsensusHost
from prsm_node.consensus_host.outbox import Outbox
from prsm_node.ledger.execution import Decoded
from prsm_node.ledger.transactions import Transaction
from prsm_node.wire.payloads import Batch, Committed

log = structlog.get_logger("consensus")

# A batch in here waits for the signature worker: 64 x 64 KB = 4 MB, a second of the worker's time. A batch
# that finds it full is dropped; its author sends it again.
BATCHES_IN = 64
BATCHES_AT_ONCE = 4
# Of one author, of whose many a check of 0.1 s each would keep out all others'.
BATCHES_OF_ONE = 16
VALUES_A_ROUND = 2
# A body with too many spent nonces is taken when it comes again after this long.
SPENT_WAIT_S = 0.25
REFUSABLE_MAX = 1_024


class Verdict(Protocol):
    """What the mempool found in a batch's body."""

    @property
    def good(self) -> bool: ...

    @property
    def fault(self) -> IntEnum: ...

    @property
    def hashes(self) -> Sequence[bytes]: ...

    @property
    def transactions(self) -> Sequence[Transaction]: ...


class Bodies(Protocol):
    """What inbound needs of the mempool."""

    async def check_body(self, body: bytes, spent_allowed: bool) -> Verdict:
        """Check every transaction of another validator's batch."""

    def certified(self, hashes: Iterable[bytes]) -> None:
        """These are in a certified batch."""


class Inbound:
    """Handlers for the kinds of frames that consensus reads."""

    def __init__(
        self,
        host: ConsensusHost,
        batches: BatchStore,
        bodies: Bodies,
        outbox: Outbox,
        follows: Callable[[int], bool],
    ) -> None:
        """`follows`: whether this node takes part in a height's agreement. Up to the block that its operator
        trusts it does not: a rival history has as good votes there, and sync alone knows the way (PROTOCOL,
        Joining)."""
        self._host = host
        self._batches = batches
        self._bodies = bodies
        self._outbox = outbox
        self._follows = follows
        self._checking: set[bytes] = set()
        self._checking_of: Counter[bytes] = Counter()
        self._send, self._receive = trio.open_memory_channel[tuple[int, bytes, Batch]](BATCHES_IN)
        self.counters: dict[str, int] = {
            "acknowledgements_unwanted": 0,
            "batches_dropped": 0,
            "batches_spent": 0,
            "batches_unwanted": 0,
            "evidence_unwanted": 0,
            "proposals_surplus": 0,
        }
        self._values: dict[tuple[int, int], set[bytes]] = {}
        """The values proposed in each round, from the current height on."""
        self._refusable: dict[bytes, float] = {}

    async def run(self) -> None:
        """Own the checking of batches."""
        async with trio.open_nursery() as nursery:
            for _ in range(BATCHES_AT_ONCE):
                nursery.start_soon(self._check_batches)

    # --- agreement --------------------------------------------------------------------------------

    def on_proposals(self, link: int, proposals: Sequence[Proposal]) -> None:
        for proposal in proposals:
            if not self._follows(proposal.height) or not self._host.replica.wants_proposal(proposal):
                continue
            validators = self._host.replica.chain.validators(proposal.height)
            checked = self._host.checks.proposal(proposal, validators) if validators is not None else None
            if checked is None:
                self._outbox.fault(link, "proposal.signature")
                continue
            value = block_digest(proposal.block)
            if not self._takes(proposal, value):
                self.counters["proposals_surplus"] += 1
                continue
            self._host.proposals.hear(checked)
            self._host.feed(ProposalReceived(link, checked))

    def _takes(self, proposal: Proposal, value: bytes) -> bool:
        """Whether a proposal is one of the few of its round that are kept: a second proves its proposer
        guilty, more are a flood. What a quorum stands for is taken in any case."""
        current = self._host.replica.height.height
        if any(height < current for height, _ in self._values):
            self._values = {place: kept for place, kept in self._values.items() if place[0] >= current}
        kept = self._values.setdefault((proposal.height, proposal.round), set())
        if value in kept or (proposal.height == current and self._host.replica.stands(proposal)):
            return True
        if len(kept) >= VALUES_A_ROUND:
            return False
        kept.add(value)
        return True

    def on_votes(self, link: int, votes: Sequence[Vote]) -> None:
        chain = self._host.replica.chain
        for vote in votes:
            if not self._follows(vote.height):
                continue
            if not well_formed(vote):
                self._outbox.fault(link, "vote.marks")
                continue
            validators = chain.validators(vote.height)
            if validators is not None and validators.power(vote.voter) == 0:
                self._outbox.fault(link, "vote.voter")
                continue
            self._host.vote_received(link, vote)

    def on_certificates(self, link: int, certificates: Sequence[Certificate]) -> None:
        replica = self._host.replica
        for certificate in certificates:
            if not self._follows(certificate.height) or not replica.wants_certificate(certificate):
                continue
            validators = replica.chain.validators(certificate.height)
            if validators is None:
                # Beyond what is known here: nothing to check it by, but somebody claims to be ahead.
                continue
            checked = self._host.checks.certificate(certificate, validators)
            if checked is None:
                self._outbox.fault(link, "certificate.votes")
                continue
            self._host.feed(CertificateReceived(link, checked))

    def on_committed(self, link: int, decided: Sequence[Committed]) -> None:
        for committed in decided:
            self.receive_committed(link, committed)

    def receive_committed(self, link: int, committed: Committed) -> bool:
        """Feed a decided block of the current height, or the rival of one decided before; False where it is
        not what it claims."""
        replica = self._host.replica
        block = committed.block
        if block.height < replica.height.height and not replica.wants_certificate(committed.certificate):
            return True
        if replica.chain.validators(block.height) is None:
            return True
        if not self._follows(block.height):
            return True
        if not self._decided(link, committed):
            return False
        self.take_decided(link, block, CheckedCertificate(committed.certificate))
        return True

    def take_decided(self, link: int, block: Block, certificate: CheckedCertificate) -> None:
        """Feed a block with the checked certificate that decides it. Raise what ends the replica."""
        self._host.feed(BlockReceived(link, block, certificate))

    def _decided(self, link: int, committed: Committed) -> bool:
        """Check that a block's certificate decides it; its height's set must be known here."""
        block, certificate = committed.block, committed.certificate
        validators = self._host.replica.chain.validators(block.height)
        named = certificate.kind is VoteKind.PRECOMMIT and certificate.height == block.height
        if validators is None or not named or certificate.value != block_digest(block):
            self._outbox.fault(link, "committed.certificate")
            return False
        if self._host.checks.certificate(certificate, validators) is None:
            self._outbox.fault(link, "committed.certificate.votes")
            return False
        return True

    def on_evidence(self, link: int, pieces: Sequence[Evidence]) -> None:
        """A piece convicts by itself; one that does not is its bringer's fault: nobody honest hands it on."""
        for piece in pieces:
            if not clashes(piece):
                self._outbox.fault(link, "evidence.clash")
                continue
            if not self._host.replica.evidence.wants(piece):
                self.counters["evidence_unwanted"] += 1
                continue
            if not self._host.checks.evidence(piece):
                self._outbox.fault(link, "evidence.signature")
                continue
            self._host.feed(EvidenceReceived(link, piece))

    def fetched_block(self, link: int, value: bytes, answer: BlockAnswer) -> bool:
        if answer.committed is not None and block_digest(answer.committed.block) == value:
            return self.receive_committed(link, answer.committed)
        if answer.proposal is not None and block_digest(answer.proposal.block) == value:
            self.on_proposals(link, (answer.proposal,))
            return True
        return False

    # --- lanes ------------------------------------------------------------------------------------

    def on_batches(self, link: int, batches: Sequence[Batch]) -> None:
        for batch in batches:
            digest = batch_digest(batch.header)
            if digest in self._checking:
                continue
            if not self._host.replica.lanes.wants(batch.header):
                self.counters["batches_unwanted"] += 1
                continue
            stored = self._batches.get(digest)
            if stored is not None and stored.checked:
                self._feed_batch(link, stored.header)
                continue
            author = batch.header.author
            if self._checking_of[author] >= BATCHES_OF_ONE:
                self.counters["batches_dropped"] += 1
                continue
            if not self._signed(link, batch):
                continue
            try:
                self._send.send_nowait((link, digest, batch))
            except trio.WouldBlock:
                self.counters["batches_dropped"] += 1
                continue
            self._checking.add(digest)
            self._checking_of[author] += 1

    async def _check_batches(self) -> None:
        async for link, digest, batch in self._receive:
            author = batch.header.author
            try:
                if link in self._outbox.links():  # else it was banned, or comes again and sends it again
                    await self._check_batch(link, batch)
            finally:
                self._checking.discard(digest)
                self._checking_of[author] -= 1
                if not self._checking_of[author]:
                    del self._checking_of[author]

    async def _check_batch(self, link: int, batch: Batch, asked: bool = False) -> bool:
        """`asked`: we asked for it by its digest. Checking it is then no debt of who gave it, or the honest
        who help a node that lacks much are banned: of 32 MB it takes 9 s of a core."""
        header, body = batch.header, batch.body
        verdict = await self._bodies.check_body(body, asked or self._waited(header.body))
        if not asked:
            self._outbox.checked(link, len(verdict.transactions))
        if not verdict.good:
            if verdict.fault.name == "SPENT":
                self.counters["batches_spent"] += 1
            else:
                self._outbox.fault(link, f"batch.body: {verdict.fault.name.lower()}")
            return False
        stored = self._batches.put(header, body)
        stored.hashes = verdict.hashes
        stored.decoded = Decoded(verdict.hashes, verdict.transactions)
        self._feed_batch(link, header)
        if not self._host.keeps_batch(header, stored.digest):
            # Its lane went on meanwhile, or its author shows more than a lane has room for.
            self._batches.drop(stored.digest)
            self.counters["batches_unwanted"] += 1
        return True

    def _signed(self, link: int, batch: Batch) -> bool:
        """Whether the body is the one named and the author signed: before a batch takes a place in the
        queue."""
        if sha256(batch.body).digest() != batch.header.body:
            self._outbox.fault(link, "batch.body")
            return False
        if not self._host.checks.batch(batch.header):
            self._outbox.fault(link, "batch.signature")
            return False
        return True

    def _waited(self, body: bytes) -> bool:
        """Whether a body comes again: an honest author's transactions may have been executed by way of
        another lane, and its own must go on, so that a body full of spent nonces costs its author a wait, not
        its lane."""
        now = trio.current_time()
        first = self._refusable.setdefault(body, now)
        while len(self._refusable) > REFUSABLE_MAX:
            del self._refusable[next(iter(self._refusable))]
        return now - first >= SPENT_WAIT_S

    def _feed_batch(self, link: int, header: BatchHeader) -> None:
        self._host.feed(BatchReceived(link, CheckedBatch(header)))

    async def fetched_batch(self, link: int, digest: bytes, batch: Batch) -> bool:
        """Check a batch that we asked for by digest; the digest fixes author, place and body."""
        if batch_digest(batch.header) != digest:
            return False
        stored = self._batches.get(digest)
        if stored is not None and stored.checked:
            return True
        return self._signed(link, batch) and await self._check_batch(link, batch, asked=True)

    def on_acknowledgements(self, link: int, given: Sequence[Acknowledgement]) -> None:
        for acknowledgement in given:
            replica = self._host.replica
            if acknowledgement.author != replica.me:
                continue
            if replica.height.validators.power(acknowledgement.voter) == 0:
                if not replica.chain.knows(acknowledgement.voter):
                    self._outbox.fault(link, "acknowledgement.voter")
                continue
            if not replica.lanes.wants_acknowledgement(acknowledgement):
                self.counters["acknowledgements_unwanted"] += 1
                continue
            checked = self._host.checks.acknowledgement(acknowledgement)
            if checked is None:
                self._outbox.fault(link, "acknowledgement.signature")
                continue
            self._host.feed(AcknowledgementReceived(link, checked))

    def on_tip_certificates(self, link: int, certificates: Sequence[TipCertificate]) -> None:
        for certificate in certificates:
            self.receive_tip_certificate(link, certificate)

    def receive_tip_certificate(self, link: int, certificate: TipCertificate) -> bool:
        replica = self._host.replica
        if not replica.lanes.wants_certificate(certificate):
            return True
        members = replica.height.validators
        voters = {voter for voter, _ in certificate.votes}
        if members_only(certificate, members) is None and len(voters) == len(certificate.votes):
            # The set has changed, here or there (we may be heights behind): no fault, and its author asks for
            # acknowledgements again.
            return replica.chain.certified(certificate)
        checked = self._host.checks.tip_certificate(certificate, members)
        if checked is None:
            self._outbox.fault(link, "tip_certificate.votes")
            return False
        self._host.feed(TipCertificateReceived(link, checked))
        stored = self._batches.get(certificate.digest)
        if stored is not None:
            self._bodies.certified(stored.hashes)
        return True

    def handlers(self) -> dict[str, Any]:
        """By the name of the frame's kind."""
        return {
            "PROPOSAL": self.on_proposals,
            "VOTE": self.on_votes,
            "CERTIFICATE": self.on_certificates,
            "COMMITTED": self.on_committed,
            "EVIDENCE": self.on_evidence,
            "BATCH": self.on_batches,
            "ACKNOWLEDGEMENT": self.on_acknowledgements,
            "TIP_CERTIFICATE": self.on_tip_certificates,
        }
