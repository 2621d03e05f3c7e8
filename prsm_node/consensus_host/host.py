"""Owns the replica: feeds it what happened and performs what it asks, in order (consensus/effects.py).

A hop from here: input -> replica.step -> effect performed. What must be durable first waits in the journal
with the rest of its performance as a callback, so that nothing signed leaves before the disk holds it.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog
import trio
from msgspec.structs import replace

from consensus.blocks import block_digest
from consensus.certificates import Certificate
from consensus.dissemination.acknowledgements import Acknowledgement
from consensus.dissemination.batches import BatchHeader
from consensus.effects import (
    CastAcknowledgement,
    CastBatch,
    CastProposal,
    CastVote,
    CatchUp,
    CheckVotes,
    Decide,
    Effect,
    FetchBatch,
    FetchBlock,
    FetchTipCertificate,
    Halt,
    PrepareBlock,
    ReportEvidence,
    SendAgain,
    SendBatchAgain,
    SendCertificate,
    SendCommitted,
    SendEvidence,
    SendProposal,
    SendTipCertificate,
    SendVotes,
    SetTimer,
    StrengthenCommit,
)
from consensus.evidence import Evidence, offence
from consensus.guard import Guard, still_signed
from consensus.inputs import (
    BatchCast,
    BatchSealed,
    Input,
    ProposalCast,
    TimerExpired,
    VoteCast,
    VoteReceived,
    VotesChecked,
)
from consensus.replica import Replica
from consensus.timers import Timer, TimerKind
from consensus.votes import NIL, Vote
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.executor import Executor
from prsm_node.consensus_host.fetcher import Fetcher
from prsm_node.consensus_host.outbox import Outbox
from prsm_node.consensus_host.proposal_store import ProposalStore
from prsm_node.consensus_host.records import KeptBatch, RecordKind, encode_record
from prsm_node.consensus_host.seen_signers import SeenSigners
from prsm_node.consensus_host.signer import Signer
from prsm_node.consensus_host.timers import Timers
from prsm_node.errors import OperatorError
from prsm_node.storage.errors import StorageError
from prsm_node.storage.journal import Journal
from prsm_node.storage.journal_segments import first_position, segment_of
from prsm_node.wire.frames import encode_message
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import Batch, Committed

log = structlog.get_logger("consensus")

# An author sends a batch again after 500 ms. Others may send it at any rate: the answer is no lever.
ACKNOWLEDGED_EVERY_MS = 200
# Votes whose bringer is remembered until they are checked: 256 validators x 2 kinds from 8 links.
BROUGHT_MAX = 4_096
# Batches that nobody orders, of an author that ended, go from segment to segment: a thirtieth of what is
# written, so that the journal is no longer than thirty times what all lanes may hold.
CARRIED_BYTES = 2 << 20
# For a proposer without a link: what it takes to make a link anew. The ordinary wait is 500 ms and more, and
# one dead validator of four would cost every fourth height so much.
UNLINKED_MS = 100


class Halted(OperatorError):
    """Two decisions at one height were proven; the daemon ends and says so."""


class ConsensusHost:
    """One replica under trio. All methods are called on the loop.

    Args:
        signer: None for a node that only follows.
        guard: the last durable one; its signed messages are what SendAgain sends.
        now_ms: the host's clock, Unix milliseconds.
    """

    def __init__(
        self,
        *,
        replica: Replica,
        signer: Signer | None,
        guard: Guard,
        guard_position: int | None,
        proposals: ProposalStore,
        signers: SeenSigners,
        checks: Checks,
        journal: Journal,
        outbox: Outbox,
        batches: BatchStore,
        executor: Executor,
        fetcher: Fetcher,
        catch_up: Callable[[int, int], None],
        committed: Callable[[int], Committed | None],
        certified: Callable[[Sequence[bytes]], None],
        keep_evidence: Callable[[tuple[Evidence, ...]], None],
        export: Callable[[tuple[Certificate, ...]], Path],
        now_ms: Callable[[], int],
    ) -> None:
        self.replica = replica
        self.checks = checks
        self.proposals = proposals
        self.timers = Timers(self._timer_expired)
        self.stopped_because = ""
        self.counters: dict[str, int] = {
            "votes_cast": 0,
            "votes_forged": 0,
            "decisions": 0,
            "evidence_found": 0,
            "rounds_over_0": 0,
            "sent_again": 0,
        }
        self._signer = signer
        self._guard = guard
        self._journal = journal
        self._outbox = outbox
        self._batches = batches
        self._executor = executor
        self._fetcher = fetcher
        self._catch_up = catch_up
        self._committed = committed
        self._certified = certified
        self._keep_evidence = keep_evidence
        self._export = export
        self._now_ms = now_ms
        self._brought: OrderedDict[Vote, int] = OrderedDict()
        self._inputs: deque[Input] = deque()
        self._stepping = False
        self._failure: Exception | None = None
        self._failed = trio.Event()
        self._sealed: tuple[bytes, Sequence[bytes]] = (b"", ())
        self._guard_position = guard_position
        self._signers = signers

    async def run(self) -> None:
        """Raise what ended the replica. A link's handler may have met it, and a link outlives its faults."""
        await self._failed.wait()
        assert self._failure is not None, "an end has its reason"
        raise self._failure

    def feed(self, happened: Input) -> None:
        """Give the replica an input and perform what follows. May be called while performing: inputs queue.

        Raise what an effect raises. What was asked after it is not done, so nothing is done any more.
        """
        self._inputs.append(happened)
        if self._stepping or self._failure is not None:
            return
        self._stepping = True
        try:
            while self._inputs:
                for effect in self.replica.step(self._inputs.popleft(), self._now_ms()):
                    PERFORM[type(effect)](self, effect)
        except Exception as error:
            self._failure = error
            self._failed.set()
            raise
        finally:
            self._stepping = False

    def _timer_expired(self, timer: Timer) -> None:
        self.feed(TimerExpired(timer))

    # --- what is signed: durable first, then sent, then counted -----------------------------------

    def _keep_guard(self, guard: Guard, kind: Kind, message: bytes, then: Callable[[], None]) -> None:
        signed = (*still_signed(self._guard, guard, self._guard.signed), bytes((kind,)) + message)
        self._guard = replace(guard, signed=signed)
        self._guard_position = self._journal.append(RecordKind.GUARD, encode_record(self._guard), then=then)

    def signed_from(self) -> int | None:
        """Return the journal position from which the guard and the proposals of undecided heights can be
        read."""
        proposals = self.proposals.oldest_position(self.replica.height.height)
        held = (self._guard_position, proposals, self._signers.position)
        return min((position for position in held if position is not None), default=None)

    def _cast_vote(self, effect: CastVote) -> None:
        assert self._signer is not None, "a node without a validator key casts no vote"
        self._keep_voted(effect.vote)
        vote = self._signer.vote(effect.vote)
        message = encode_message(vote)

        def durable() -> None:
            self.counters["votes_cast"] += 1
            self._outbox.broadcast(Kind.VOTE, message)
            self.feed(VoteCast(vote))

        self._keep_guard(effect.guard, Kind.VOTE, message, durable)

    def carry_over(self) -> None:
        """Append again what a restart needs of the journal's older segments, so that they can go. Due when a
        segment begins: nothing that is signed or ordered may ever renew it.

        The copies count at once. A commit of the state makes them durable before a mark that rests on them,
        and nothing is cut but by a durable mark.
        """
        last = segment_of(self._journal.end)
        if self._guard_position is not None and segment_of(self._guard_position) < last:
            guard = encode_record(self._guard)
            self._guard_position = self._journal.append(RecordKind.GUARD, guard, urgent=False)
        self._signers.carry_over()
        room = CARRIED_BYTES
        for stored in self._batches.before(limit := first_position(max(0, last - 1))):
            if stored.position is None or stored.position >= limit:
                continue  # what was appended before it began a segment, which brought it forward
            if (room := room - len(stored.body)) < 0:
                return
            try:
                record = self._journal.read(stored.position)
            except (StorageError, OSError) as error:
                log.warning("batch_not_carried_over", why=str(error))
                return
            stored.position = self._journal.append(RecordKind.BATCH, record, urgent=False)

    def _keep_voted(self, vote: Vote) -> None:
        """Keep what we vote for. A block that came with its commit has a decision's record to itself."""
        if vote.value is NIL:
            return
        current = self.replica.height
        judged = current.proposals.proposal(vote.round) if current.height == vote.height else None
        if judged is None or block_digest(judged.block) != vote.value:
            judged = self.proposals.heard(vote.value)
        if judged is not None:
            self.proposals.keep(judged)

    def _cast_proposal(self, effect: CastProposal) -> None:
        assert self._signer is not None, "a node without a validator key proposes nothing"
        proposal = self._signer.proposal(effect.proposal)
        message = encode_message(proposal)

        def durable() -> None:
            self._outbox.broadcast(Kind.PROPOSAL, message)
            self.feed(ProposalCast(proposal))

        # In this order: a proposal that a restart finds without its guard would be signed a second time.
        self._keep_guard(effect.guard, Kind.PROPOSAL, message, durable)
        self.proposals.hear(proposal)
        self.proposals.keep(proposal)

    def seal(self, digest: bytes, body: bytes, hashes: Sequence[bytes]) -> None:
        """Chain a body of ours into our lane; the caller asked `replica.lanes.room()` before."""
        self._sealed = body, hashes
        self.feed(BatchSealed(digest))

    def _cast_batch(self, effect: CastBatch) -> None:
        assert self._signer is not None, "a node without a validator key authors no batch"
        batch = self._signer.batch(effect.header)
        body, hashes = self._sealed
        stored = self._batches.put(batch, body)
        stored.hashes = hashes
        given = self._signer.acknowledgement(
            Acknowledgement(batch.author, batch.sequence, stored.digest, batch.author)
        )
        message = encode_message(Batch(batch, stored.body))

        def durable() -> None:
            self._outbox.broadcast(Kind.BATCH, message)
            self.feed(BatchCast(batch, given))

        record = encode_record(KeptBatch(batch, given.signature, stored.body))
        stored.position = self._journal.append(RecordKind.BATCH, record, then=durable)

    def _cast_acknowledgement(self, effect: CastAcknowledgement) -> None:
        assert self._signer is not None, "a node without a validator key acknowledges nothing"
        stored = self._batches.get(effect.acknowledgement.digest)
        assert stored is not None, "a batch is stored before the replica hears of it"
        assert stored.checked, "a batch is checked before the replica hears of it"
        now_ms = self._now_ms()
        if stored.acknowledged and now_ms - stored.given_ms < ACKNOWLEDGED_EVERY_MS:
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

    # --- what is sent or sent again ---------------------------------------------------------------

    def _send_certificate(self, effect: SendCertificate) -> None:
        message = encode_message(effect.certificate)
        if effect.link is not None:
            self._outbox.send(effect.link, Kind.CERTIFICATE, message)
            return
        for link in self._outbox.links():
            if self._outbox.validator_of(link) not in effect.besides:
                self._outbox.send(link, Kind.CERTIFICATE, message)

    def _send_tip_certificate(self, effect: SendTipCertificate) -> None:
        stored = self._batches.get(effect.certificate.digest)
        if stored is not None:
            self._certified(stored.hashes)
        self._outbox.broadcast(Kind.TIP_CERTIFICATE, encode_message(effect.certificate))

    def _send_committed(self, effect: SendCommitted) -> None:
        committed = self._committed(effect.height)
        if committed is not None:
            self._outbox.send(effect.link, Kind.COMMITTED, encode_message(committed))

    def _send_again(self, effect: SendAgain) -> None:
        if self._guard.height != effect.height:
            return
        self.counters["sent_again"] += 1
        if self._guard.valid_polka is not None:
            polka = encode_message(self._guard.valid_polka)
            self._outbox.broadcast(Kind.CERTIFICATE, polka)
        for signed in self._guard.signed:
            self._outbox.broadcast(Kind(signed[0]), signed[1:])

    def _send_proposal(self, effect: SendProposal) -> None:
        self._outbox.broadcast(Kind.PROPOSAL, encode_message(effect.proposal))

    def link_up(self, link: int) -> None:
        """Send a validator that is linked (again) what we signed at this height. It may have missed it, and
        after a cut that left no quorum all would wait for the next sending again, two seconds at most."""
        for signed in self._guard.signed:
            self._outbox.send(link, Kind(signed[0]), signed[1:])

    def _send_votes(self, effect: SendVotes) -> None:
        for vote in effect.votes:
            self._outbox.broadcast(Kind.VOTE, encode_message(vote))

    def _send_batch_again(self, effect: SendBatchAgain) -> None:
        stored = self._batches.get(effect.digest)
        if stored is not None:
            self._outbox.broadcast(Kind.BATCH, encode_message(Batch(stored.header, stored.body)))

    # --- the rest ---------------------------------------------------------------------------------

    def _set_timer(self, effect: SetTimer) -> None:
        timer, delay_ms = effect.timer, effect.delay_ms
        if timer.kind is TimerKind.PROPOSE and self._waits_in_vain(timer):
            delay_ms = min(delay_ms, UNLINKED_MS)
        self.timers.set(timer, delay_ms)

    def _waits_in_vain(self, timer: Timer) -> bool:
        """Whether a round's proposer has no link to this node, so that its proposal will not come.

        Only in as many rounds of a height as there are validators: after them the waits grow as ever, and
        with them whatever is wrong about the links is outlasted.
        """
        validators = self.replica.height.validators
        if timer.height != self.replica.height.height or timer.round >= len(validators.powers):
            return False
        proposer = validators.proposer(timer.height, timer.round)
        return proposer != self.replica.me and self._outbox.link_of(proposer) is None

    def vote_received(self, link: int, vote: Vote) -> None:
        """Hand in an unchecked vote; if it turns out to be forged, the link that brought it first is at
        fault."""
        self._brought.setdefault(vote, link)
        if len(self._brought) > BROUGHT_MAX:
            self._brought.popitem(last=False)
        self.feed(VoteReceived(link, vote))

    def keeps_batch(self, header: BatchHeader, digest: bytes) -> bool:
        """Whether a lane or the execution of a decided block holds to this batch."""
        lane = self.replica.lanes.lane(header.author)
        if digest in self._executor.missing or self.replica.lanes.keeps(header.author, digest):
            return True
        executed = self._executor.executed_tip(header.author).sequence
        return lane is not None and executed < header.sequence <= lane.committed.sequence

    def _check_votes(self, effect: CheckVotes) -> None:
        good, forged = [], []
        for vote in effect.votes:
            checked = self.checks.vote(vote)
            link = self._brought.pop(vote, 0)
            self._outbox.checked(link, 1)
            if checked is None:
                forged.append(vote)
                self._outbox.fault(link, "vote.signature")
            else:
                good.append(checked)
        self.counters["votes_forged"] += len(forged)
        self.feed(VotesChecked(tuple(good), tuple(forged)))

    def _fetch_batch(self, effect: FetchBatch) -> None:
        self._fetcher.batch(effect.author, effect.digest, effect.link)

    def _fetch_tip_certificate(self, effect: FetchTipCertificate) -> None:
        self._fetcher.tip_certificate(effect.author, effect.sequence, effect.digest, effect.link)

    def _fetch_block(self, effect: FetchBlock) -> None:
        self._fetcher.block(effect.height, effect.value, effect.link)

    def _catch_up_to(self, effect: CatchUp) -> None:
        self._catch_up(effect.height, effect.link)

    def _prepare_block(self, effect: PrepareBlock) -> None:
        self._executor.prepare(effect.block)

    def _decide(self, effect: Decide) -> None:
        self.counters["decisions"] += 1
        self.counters["rounds_over_0"] += effect.certificate.round > 0
        self._executor.decide(effect.block, effect.certificate)

    def _strengthen_commit(self, effect: StrengthenCommit) -> None:
        self._executor.strengthen(effect.certificate)

    def _report_evidence(self, effect: ReportEvidence) -> None:
        done = offence(effect.evidence)
        self.counters["evidence_found"] += 1
        log.warning(
            "evidence", guilty=done.guilty.hex(), kind=done.kind, height=done.height, round=done.round
        )
        self._keep_evidence(self.replica.evidence.pieces())
        self._broadcast_evidence((effect.evidence,))

    def _send_evidence(self, effect: SendEvidence) -> None:
        self._broadcast_evidence(effect.pieces)

    def _broadcast_evidence(self, pieces: Sequence[Evidence]) -> None:
        for piece in pieces:
            self._outbox.broadcast(Kind.EVIDENCE, encode_message(piece))

    def not_voting(self, reason: str) -> None:
        """Say why this node was never allowed to vote, wherever an operator looks."""
        self.stopped_because = reason
        log.error("voting_stopped", reason=reason)

    def _halt(self, effect: Halt) -> None:
        log.critical("halted", reason=effect.reason)
        where = self._export(effect.proof) if effect.proof else None
        told = f"; the proof is in {where}" if where is not None else ""
        raise Halted(
            f"{effect.reason}{told}; this node stopped: trust no block since, and ask other operators"
        )


PERFORM: dict[type[Effect], Callable[[ConsensusHost, Any], None]] = {
    CastVote: ConsensusHost._cast_vote,
    CastProposal: ConsensusHost._cast_proposal,
    CastBatch: ConsensusHost._cast_batch,
    CastAcknowledgement: ConsensusHost._cast_acknowledgement,
    SetTimer: ConsensusHost._set_timer,
    CheckVotes: ConsensusHost._check_votes,
    SendCertificate: ConsensusHost._send_certificate,
    SendTipCertificate: ConsensusHost._send_tip_certificate,
    SendCommitted: ConsensusHost._send_committed,
    SendAgain: ConsensusHost._send_again,
    SendProposal: ConsensusHost._send_proposal,
    SendVotes: ConsensusHost._send_votes,
    SendBatchAgain: ConsensusHost._send_batch_again,
    FetchBatch: ConsensusHost._fetch_batch,
    FetchTipCertificate: ConsensusHost._fetch_tip_certificate,
    FetchBlock: ConsensusHost._fetch_block,
    CatchUp: ConsensusHost._catch_up_to,
    PrepareBlock: ConsensusHost._prepare_block,
    Decide: ConsensusHost._decide,
    StrengthenCommit: ConsensusHost._strengthen_commit,
    ReportEvidence: ConsensusHost._report_evidence,
    SendEvidence: ConsensusHost._send_evidence,
    Halt: ConsensusHost._halt,
}
"""One dict look-up an effect; tests/house checks that it covers every Effect."""
