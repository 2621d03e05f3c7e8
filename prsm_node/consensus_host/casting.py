"""What this node signs: durable first, then sent, then counted.

What must be durable waits in the journal with the rest of its performance as a callback, so that nothing
signed leaves before the disk holds it.
"""

from collections.abc import Callable, Sequence

import msgspec

from consensus.blocks import block_digest
from consensus.dissemination.acknowledgements import Acknowledgement
from consensus.effects import CastAcknowledgement, CastBatch, CastProposal, CastVote, SendAgain
from consensus.inputs import BatchCast, BatchSealed, Input, ProposalCast, VoteCast
from consensus.replica import Replica
from consensus.votes import NIL, CheckedVote, Vote
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.outbox import Outbox
from prsm_node.consensus_host.records import KeptBatch, RecordKind, encode_record
from prsm_node.consensus_host.signer import Signer
from prsm_node.consensus_host.signing_journal import SigningJournal
from prsm_node.storage.journal import Journal
from prsm_node.wire.frames import encode_message
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import Batch

# An author sends a batch again after 500 ms. Others may send it at any rate: the answer is no lever.
ACKNOWLEDGED_EVERY_MS = 200


class Casting:
    """Args:
    signer: None for a node that only follows.
    feed: gives the replica what was cast.
    counters: the host's.
    """

    def __init__(
        self,
        *,
        replica: Replica,
        signer: Signer | None,
        kept: SigningJournal,
        journal: Journal,
        outbox: Outbox,
        batches: BatchStore,
        feed: Callable[[Input], None],
        counters: dict[str, int],
        now_ms: Callable[[], int],
    ) -> None:
        self._replica = replica
        self._signer = signer
        self._kept = kept
        self._journal = journal
        self._outbox = outbox
        self._batches = batches
        self._feed = feed
        self._counters = counters
        self._now_ms = now_ms
        self._sealed: tuple[bytes, Sequence[bytes]] = (b"", ())

    def cast_vote(self, effect: CastVote) -> None:
        """Sign a vote; it leaves, and counts, once it is durable."""
        assert self._signer is not None, "a node without a validator key casts no vote"
        self._keep_voted(effect.vote)
        vote = self._signer.vote(effect.vote)
        message = encode_message(vote)

        def durable() -> None:
            self._counters["votes_cast"] += 1
            self._outbox.broadcast(Kind.VOTE, message)
            self._feed(VoteCast(vote))

        self._kept.keep_guard(effect.guard, Kind.VOTE, message, durable)

    def _keep_voted(self, vote: Vote) -> None:
        """Keep what we vote for. A block that came with its commit has a decision's record to itself."""
        if vote.value is NIL:
            return
        current = self._replica.height
        judged = current.proposals.proposal(vote.round) if current.height == vote.height else None
        if judged is None or block_digest(judged.block) != vote.value:
            judged = self._kept.proposals.heard(vote.value)
        if judged is not None:
            self._kept.proposals.keep(judged)

    def cast_proposal(self, effect: CastProposal) -> None:
        """Sign a proposal; it leaves, and counts, once its guard is durable."""
        assert self._signer is not None, "a node without a validator key proposes nothing"
        proposal = self._signer.proposal(effect.proposal)
        message = encode_message(proposal)

        def durable() -> None:
            # Not before: what is kept is given to who asks for its block, and of one proposed again all know
            # the value.
            self._kept.proposals.hear(proposal)
            self._kept.proposals.keep(proposal)
            self._outbox.broadcast(Kind.PROPOSAL, message)
            self._feed(ProposalCast(proposal))

        self._kept.keep_guard(effect.guard, Kind.PROPOSAL, message, durable)

    def seal(self, digest: bytes, body: bytes, hashes: Sequence[bytes]) -> None:
        """Chain a body of ours into our lane; the caller asked `replica.lanes.room()` before."""
        self._sealed = body, hashes
        self._feed(BatchSealed(digest))

    def cast_batch(self, effect: CastBatch) -> None:
        """Sign the batch that is being sealed, and acknowledge it."""
        assert self._signer is not None, "a node without a validator key authors no batch"
        batch = self._signer.batch(effect.header)
        body, hashes = self._sealed
        stored = self._batches.put(batch, body)
        stored.hashes, stored.withheld = hashes, True
        given = self._signer.acknowledgement(
            Acknowledgement(batch.author, batch.sequence, stored.digest, batch.author)
        )
        message = encode_message(Batch(batch, stored.body))

        def durable() -> None:
            stored.withheld = False
            self._outbox.broadcast(Kind.BATCH, message)
            self._feed(BatchCast(batch, given))

        record = encode_record(KeptBatch(batch, given.signature, stored.body))
        stored.position = self._journal.append(RecordKind.BATCH, record, then=durable)

    def cast_acknowledgement(self, effect: CastAcknowledgement) -> None:
        """Sign that a batch is stored here, once it is; what was given before is sent again. While the disk
        does not keep up nothing is: the author sends the batch again."""
        assert self._signer is not None, "a node without a validator key acknowledges nothing"
        stored = self._batches.get(effect.acknowledgement.digest)
        assert stored is not None, "a batch is stored before the replica hears of it"
        assert stored.checked, "a batch is checked before the replica hears of it"
        if not stored.acknowledging and self._journal.crowded:
            return
        now_ms = self._now_ms()
        if stored.acknowledged and 0 <= now_ms - stored.given_ms < ACKNOWLEDGED_EVERY_MS:
            return
        stored.given_ms = now_ms
        given = self._signer.acknowledgement(effect.acknowledgement)
        message = encode_message(given)

        def durable() -> None:
            link = self._outbox.link_of(given.author)
            if link is not None:
                self._outbox.send(link, Kind.ACKNOWLEDGEMENT, message)
            else:
                self._outbox.broadcast(Kind.ACKNOWLEDGEMENT, message)

            stored.acknowledged = True

        if stored.acknowledged:
            durable()
        if stored.acknowledging:
            return
        stored.acknowledging = True
        record = encode_record(KeptBatch(stored.header, given.signature, stored.body))
        stored.position = self._journal.append(RecordKind.BATCH, record, then=durable)

    def send_again(self, effect: SendAgain) -> None:
        """Send what was signed at the open height once more, as far as it is durable."""
        guard = self._kept.durable_guard
        if guard.height != effect.height:
            return
        self._counters["sent_again"] += 1
        if guard.valid_polka is not None:
            self._outbox.broadcast(Kind.CERTIFICATE, encode_message(guard.valid_polka))
        for signed in guard.signed:
            self._outbox.broadcast(Kind(signed[0]), signed[1:])

    def count_again(self) -> None:
        """Count what was signed at the open height before this run, where that alone can be a quorum."""
        for signed in self._kept.durable_guard.signed:
            if signed[0] == Kind.VOTE and self._replica.suffices_alone():
                vote = msgspec.msgpack.decode(signed[1:], type=Vote)
                if vote.height == self._replica.height.height:
                    self._feed(VoteCast(CheckedVote(vote)))

    def link_up(self, link: int) -> None:
        """Send a validator that is linked (again) what we signed at this height. It may have missed it, and
        after a cut that left no quorum all would wait for the next sending again, two seconds at most."""
        for signed in self._kept.durable_guard.signed:
            self._outbox.send(link, Kind(signed[0]), signed[1:])
