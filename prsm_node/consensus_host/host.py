"""Owns the replica: feeds it what happened and performs what it asks, in order (consensus/effects.py).

A hop from here: input -> replica.step -> effect performed. What is signed is casting.py's, what is handed on
sending.py's.
"""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog
import trio

from consensus.certificates import Certificate
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
from consensus.inputs import (
    Input,
    TimerExpired,
    VoteReceived,
    VotesChecked,
)
from consensus.recent import HEIGHTS as RECENT_HEIGHTS
from consensus.replica import Replica
from consensus.timers import Timer, TimerKind
from consensus.votes import Vote
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.bringers import Bringers
from prsm_node.consensus_host.casting import Casting
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.executor import Executor
from prsm_node.consensus_host.fetcher import Fetcher
from prsm_node.consensus_host.outbox import Outbox
from prsm_node.consensus_host.sending import Sending
from prsm_node.consensus_host.signer import Signer
from prsm_node.consensus_host.signing_journal import SigningJournal
from prsm_node.consensus_host.timers import Timers
from prsm_node.errors import OperatorError
from prsm_node.storage.journal import Journal
from prsm_node.wire.payloads import Committed

log = structlog.get_logger("consensus")

# For a proposer without a link: what it takes to make a link anew. The ordinary wait is 500 ms and more, and
# one dead validator of four would cost every fourth height so much.
UNLINKED_MS = 100


class Halted(OperatorError):
    """Two decisions at one height were proven; the daemon ends and says so."""


class ConsensusHost:
    """One replica under trio. All methods are called on the loop.

    Args:
        signer: None for a node that only follows.
        now_ms: the host's clock, Unix milliseconds.
    """

    def __init__(
        self,
        *,
        replica: Replica,
        signer: Signer | None,
        kept: SigningJournal,
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
        self.proposals = kept.proposals
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
        self.sending = Sending(outbox, batches, committed, certified)
        self.casting = Casting(
            replica=replica,
            signer=signer,
            kept=kept,
            journal=journal,
            outbox=outbox,
            batches=batches,
            feed=self.feed,
            counters=self.counters,
            now_ms=now_ms,
        )
        self._outbox = outbox
        self._executor = executor
        self._fetcher = fetcher
        self._catch_up = catch_up
        self._keep_evidence = keep_evidence
        self._export = export
        self._now_ms = now_ms
        self._bringers = Bringers()
        self._inputs: deque[Input] = deque()
        self._stepping = False
        self._failure: Exception | None = None
        self._failed = trio.Event()

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
        self._bringers.note(vote, link)
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
            link = self._bringers.take(vote)
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
        self._bringers.forget(effect.block.height - RECENT_HEIGHTS)
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
        self.sending.evidence((effect.evidence,))

    def not_voting(self, reason: str) -> None:
        """Say why this node was never allowed to vote, wherever an operator looks."""
        self.stopped_because = reason
        log.error("voting_stopped", reason=reason)

    def _halt(self, effect: Halt) -> None:
        log.critical("halted", reason=effect.reason)
        try:
            told = f"; the proof is in {self._export(effect.proof)}" if effect.proof else ""
        except OSError as error:
            told = f"; its proof can't be kept ({(error.strerror or 'the disk fails').lower()})"
        raise Halted(
            f"{effect.reason}{told}; this node stopped: trust no block since, and ask other operators"
        )


PERFORM: dict[type[Effect], Callable[[ConsensusHost, Any], None]] = {
    CastVote: lambda host, effect: host.casting.cast_vote(effect),
    CastProposal: lambda host, effect: host.casting.cast_proposal(effect),
    CastBatch: lambda host, effect: host.casting.cast_batch(effect),
    CastAcknowledgement: lambda host, effect: host.casting.cast_acknowledgement(effect),
    SetTimer: ConsensusHost._set_timer,
    CheckVotes: ConsensusHost._check_votes,
    SendCertificate: lambda host, effect: host.sending.certificate(effect),
    SendTipCertificate: lambda host, effect: host.sending.tip_certificate(effect),
    SendCommitted: lambda host, effect: host.sending.committed(effect),
    SendAgain: lambda host, effect: host.casting.send_again(effect),
    SendProposal: lambda host, effect: host.sending.proposal(effect),
    SendVotes: lambda host, effect: host.sending.votes(effect),
    SendBatchAgain: lambda host, effect: host.sending.batch_again(effect),
    FetchBatch: ConsensusHost._fetch_batch,
    FetchTipCertificate: ConsensusHost._fetch_tip_certificate,
    FetchBlock: ConsensusHost._fetch_block,
    CatchUp: ConsensusHost._catch_up_to,
    PrepareBlock: ConsensusHost._prepare_block,
    Decide: ConsensusHost._decide,
    StrengthenCommit: ConsensusHost._strengthen_commit,
    ReportEvidence: ConsensusHost._report_evidence,
    SendEvidence: lambda host, effect: host.sending.evidence(effect.pieces),
    Halt: ConsensusHost._halt,
}
"""One dict look-up an effect; tests/house checks that it covers every Effect."""
