"""One validator, or one node that follows: what happens is told to the height that it bears on, or to the
lanes, and a decision opens the next height.

`Replica.step(input, now_ms)` returns the effects the host must perform, in order. A message of the open
height goes to open_height.py, of a coming one to early.py, of a decided one to recent.py; batches and their
certificates go to dissemination/'s lanes, proofs of guilt to convictions.py. PROTOCOL.md's sections are
named where a rule of theirs is applied.
"""

from collections.abc import Callable, Iterable
from typing import Any

from consensus.agreement.decided_height import DecidedHeight
from consensus.agreement.height import Height
from consensus.agreement.timeouts import Timeouts
from consensus.blocks import Proposal
from consensus.certificates import Certificate, CheckedCertificate
from consensus.chain import Chain, ChainStart
from consensus.convictions import EvidencePool
from consensus.dissemination.lanes import Lanes
from consensus.early import EarlyMessages
from consensus.effects import (
    CatchUp,
    Decide,
    Effect,
    ReportEvidence,
    SendBatchAgain,
    SendEvidence,
    SendTipCertificate,
    SetTimer,
)
from consensus.evidence import Evidence
from consensus.guard import Guard
from consensus.inputs import (
    AcknowledgementReceived,
    BatchCast,
    BatchReceived,
    BatchSealed,
    BlockExecuted,
    BlockReceived,
    CertificateReceived,
    EvidenceReceived,
    Input,
    PeerHeightChanged,
    ProposalCast,
    ProposalReceived,
    Started,
    TimerExpired,
    TipCertificateReceived,
    VoteCast,
    VoteReceived,
    VotesChecked,
    VotingAllowed,
)
from consensus.open_height import ROUNDS_AHEAD, OpenHeight
from consensus.pacing import Pacing
from consensus.quorum import is_quorum
from consensus.recent import FORWARD_COMMIT_MS, RecentHeights
from consensus.rules import Rules
from consensus.timers import Timer, TimerKind
from consensus.validators import ValidatorSet


class Replica:
    """The state of one validator.

    Args:
        me: its key; None follows and signs nothing.
        guard: the last durable guard, whatever its height.
        evidence: proofs that were kept and that no block had committed.
    """

    def __init__(
        self,
        me: bytes | None,
        rules: Rules,
        start: ChainStart,
        guard: Guard,
        timeouts: Timeouts | None = None,
        evidence: Iterable[Evidence] = (),
    ) -> None:
        self.me = me
        self.rules = rules
        self.chain = Chain(start)
        first = start.sets[start.height + 1]
        self.lanes = Lanes(me, first, rules.window, rules.advance_max)
        self.lanes.restore_committed(start.tips)
        self.evidence = EvidencePool(self.chain, evidence)
        self.voting = False
        self._restored = guard
        self._pacing = Pacing(rules)
        self._recent = RecentHeights()
        self._early = EarlyMessages()
        self._unordered = 0
        """The sequence of our furthest certificate when the lane timer last ran out; 0 for none."""
        self._open = self._opened(first, guard, timeouts or Timeouts())

    def _opened(self, validators: ValidatorSet, guard: Guard, timeouts: Timeouts) -> OpenHeight:
        """Open the height above the chain. Below the restored guard's height nothing is signed: what was
        signed there is not remembered any more."""
        height = self.chain.height + 1
        if height == self._restored.height:
            guard = self._restored
        elif height < self._restored.height:
            guard = Guard(diverged=self._restored.diverged)
        voting = self.voting and height >= self._restored.height
        agreement = Height(height, validators, self.me, timeouts, guard, voting)
        return OpenHeight(agreement, self.rules, self.chain, self.lanes, self.evidence, self._pacing)

    @property
    def height(self) -> Height:
        """The agreement of the open height, to be read."""
        return self._open.height

    def step(self, happened: Input, now_ms: int) -> list[Effect]:
        """Take one input; return what the host must do, in order."""
        effects = HANDLERS[type(happened)](self, happened, now_ms)
        if self._open.height.decided is not None:
            effects = effects + self._go_on(now_ms)
        effects = self._keep_evidence(effects)
        effects += self._keep_evidence(self._open.wake(now_ms))
        return effects + self._open.due()

    def _keep_evidence(self, effects: list[Effect]) -> list[Effect]:
        """Keep what was found for a block; leave out what was known before."""
        return [e for e in effects if type(e) is not ReportEvidence or self.evidence.add(e.evidence)]

    def suffices_alone(self) -> bool:
        """Whether this validator is a quorum by itself at the open height. Others' votes of before a restart
        come back with what their peers hand on; this one's the host gives it again, as VoteCast."""
        validators = self.height.validators
        return self.me is not None and is_quorum(validators.power(self.me), validators.total)

    def wants_proposal(self, proposal: Proposal) -> bool:
        """Whether a proposal is from the proposer of a round of this height or the next: asked, as all that
        begins so, before the host spends CPU on a signature."""
        ahead = proposal.height - self.height.height
        validators = self.chain.validators(proposal.height)
        if ahead not in (0, 1) or validators is None:
            return False
        if validators.proposer(proposal.height, proposal.round) != proposal.proposer:
            return False
        if ahead:
            return proposal.round <= ROUNDS_AHEAD and self._early.wants_proposal(proposal)
        return self._open.wants_proposal(proposal)

    def stands(self, proposal: Proposal) -> bool:
        """Whether a quorum stands for its value, or we hold to it: then the block is wanted from any
        round."""
        return self._open.stands(proposal)

    def wants_certificate(self, certificate: Certificate) -> bool:
        """Whether a certificate would tell something new: of a decided height, only that it forked."""
        if certificate.height < self.height.height:
            return self._recent.is_second(certificate)
        return certificate.height > self.height.height or self.height.wants_certificate(certificate)

    def polkas(self, height: int) -> list[CheckedCertificate]:
        """Return the polkas at hand of this height or of a recent one: evidence of a fork."""
        return self.height.keeper.polkas() if height == self.height.height else self._recent.polkas(height)

    def _started(self, happened: Started, now_ms: int) -> list[Effect]:
        effects: list[Effect] = [
            SetTimer(Timer(TimerKind.HEARTBEAT, self.height.height), self.rules.heartbeat_ms)
        ]
        if self.me is not None:
            effects.append(SetTimer(Timer(TimerKind.LANE), self.rules.resend_ms))
        return effects

    def _timer_expired(self, happened: TimerExpired, now_ms: int) -> list[Effect]:
        timer = happened.timer
        if timer.kind is TimerKind.LANE:
            return self._lane_timer()
        if timer.height == self.height.height:
            return self._open.timer_expired(timer, now_ms)
        return self._recent.forward(timer.height) if timer.kind is TimerKind.FORWARD else []

    def _lane_timer(self) -> list[Effect]:
        effects = self.lanes.certify_held()
        effects += [SendBatchAgain(digest) for digest in self.lanes.overdue()[:4]]
        certificate = self.lanes.own_certificate()
        if certificate is not None and certificate.sequence == self._unordered:
            effects.append(SendTipCertificate(certificate))
        self._unordered = certificate.sequence if certificate is not None else 0
        return [*effects, SetTimer(Timer(TimerKind.LANE), self.rules.resend_ms)]

    def _voting_allowed(self, happened: VotingAllowed, now_ms: int) -> list[Effect]:
        if self.me is None or self.voting:
            return []
        self.voting = True
        effects = self.lanes.allow_acknowledging()
        if self.height.height < self._restored.height:
            return effects
        return effects + self._open.allow_voting(now_ms)

    def _vote_received(self, happened: VoteReceived, now_ms: int) -> list[Effect]:
        vote, link = happened.vote, happened.link
        if vote.height == self.height.height:
            return self._open.vote_received(link, vote)
        if vote.height > self.height.height:
            self._early.keep_vote(link, vote, self.height.height)
            return []
        return self._recent.late_vote(vote, link, now_ms)

    def _votes_checked(self, happened: VotesChecked, now_ms: int) -> list[Effect]:
        effects: list[Effect] = []
        for vote in happened.good:
            self._recent.reached(vote)
        now = [vote for vote in happened.good if vote.height == self.height.height]
        late = [vote for vote in happened.good if vote.height < self.height.height]
        if now:
            effects += self._open.votes_checked(now, now_ms)
        for vote in late:
            effects += self._recent.strengthen(vote)
        return effects

    def _vote_cast(self, happened: VoteCast, now_ms: int) -> list[Effect]:
        vote = happened.vote
        if vote.height < self.height.height:
            return self._votes_checked(VotesChecked((vote,)), now_ms)
        assert vote.height == self.height.height, f"an own vote for {vote.height} at {self.height.height}"
        return self._open.vote_cast(vote, now_ms)

    def _certificate_received(self, happened: CertificateReceived, now_ms: int) -> list[Effect]:
        certificate = happened.certificate
        if certificate.height > self.height.height:
            return [CatchUp(certificate.height, happened.link)]
        if certificate.height < self.height.height:
            return self._recent.second_decision(certificate)
        return self._open.certificate_received(certificate, happened.link, now_ms)

    def _block_received(self, happened: BlockReceived, now_ms: int) -> list[Effect]:
        height = happened.block.height
        if height > self.height.height:
            return [CatchUp(height, happened.link)]
        if height < self.height.height:
            return self._recent.second_decision(happened.certificate)
        return self._open.block_received(happened, now_ms)

    def _proposal_received(self, happened: ProposalReceived, now_ms: int) -> list[Effect]:
        proposal = happened.proposal
        if proposal.height == self.height.height:
            return self._open.proposal_received(happened.link, proposal, now_ms)
        if proposal.height == self.height.height + 1:
            self._early.keep_proposal(happened.link, proposal)
        return []

    def _proposal_cast(self, happened: ProposalCast, now_ms: int) -> list[Effect]:
        if happened.proposal.height != self.height.height:
            return []
        return self._open.proposal_cast(happened.proposal, now_ms)

    def _go_on(self, now_ms: int) -> list[Effect]:
        """Lines 52-54: the next height at once, unless its set waits for execution (Blocks 1)."""
        effects: list[Effect] = []
        while (decided := self.height.decided) is not None:
            validators = self.chain.validators(self.height.height + 1)
            if validators is None:
                break
            effects += self._decided(decided, validators, now_ms)
        return effects

    def _decided(self, decided: DecidedHeight, validators: ValidatorSet, now_ms: int) -> list[Effect]:
        """The open height is done: its block extends the chain and the lanes, and the next one opens."""
        before, commit, block = self._open, decided.commit, self._open.decided_block()
        self.chain.append(block, commit.value)
        self.lanes.commit(block.tips)
        self._recent.add(decided)
        if validators is not before.height.validators:
            self.lanes.change_set(validators)
        for vote in commit.votes:
            # Who votes at a height computed the root after height - 2 (Blocks 5).
            self._pacing.peer_reached(vote.voter, block.height - 2, before.height.validators)
        self._open = self._opened(validators, before.height.closing_guard(), before.height.measured(now_ms))
        effects: list[Effect] = [
            *before.late_precommits(),
            SetTimer(Timer(TimerKind.FORWARD, block.height), FORWARD_COMMIT_MS),
            Decide(block, commit),
            SetTimer(Timer(TimerKind.HEARTBEAT, self.height.height), self.rules.heartbeat_ms),
        ]
        waiting = self.evidence.decided()
        if waiting:
            effects.append(SendEvidence(waiting))
        return effects + self._open.wake(now_ms) + self._take_early(now_ms)

    def _take_early(self, now_ms: int) -> list[Effect]:
        effects: list[Effect] = []
        height = self.height.height
        proposals, votes = self._early.take()
        for link, proposal in proposals:
            effects += self._proposal_received(ProposalReceived(link, proposal), now_ms)
        for link, vote in votes:
            if vote.height >= height:
                effects += self._vote_received(VoteReceived(link, vote), now_ms)
        return effects

    def _block_executed(self, happened: BlockExecuted, now_ms: int) -> list[Effect]:
        self.chain.executed_at(happened.height, happened.state_root, happened.next_set)
        self._pacing.block_executed(happened.transactions)
        return self._open.build(now_ms) + self._open.judge_waiting(now_ms)

    def _peer_height_changed(self, happened: PeerHeightChanged, now_ms: int) -> list[Effect]:
        self._pacing.peer_reached(happened.validator, happened.height, self.height.validators)
        return []

    def _evidence_received(self, happened: EvidenceReceived, now_ms: int) -> list[Effect]:
        return [ReportEvidence(happened.evidence)]

    def _batch_sealed(self, happened: BatchSealed, now_ms: int) -> list[Effect]:
        return self.lanes.seal(happened.body)

    def _batch_cast(self, happened: BatchCast, now_ms: int) -> list[Effect]:
        return self.lanes.batch_cast(happened.batch, happened.acknowledgement)

    def _batch_received(self, happened: BatchReceived, now_ms: int) -> list[Effect]:
        return self.lanes.receive_batch(happened.batch, happened.link)

    def _acknowledgement_received(self, happened: AcknowledgementReceived, now_ms: int) -> list[Effect]:
        return self.lanes.receive_acknowledgement(happened.acknowledgement)

    def _tip_certificate_received(self, happened: TipCertificateReceived, now_ms: int) -> list[Effect]:
        effects = self.lanes.receive_certificate(happened.certificate, happened.link)
        return effects + self._open.judge_waiting(now_ms)


HANDLERS: dict[type[Input], Callable[[Replica, Any, int], list[Effect]]] = {
    Started: Replica._started,
    TimerExpired: Replica._timer_expired,
    VoteReceived: Replica._vote_received,
    VotesChecked: Replica._votes_checked,
    ProposalReceived: Replica._proposal_received,
    CertificateReceived: Replica._certificate_received,
    BlockReceived: Replica._block_received,
    VoteCast: Replica._vote_cast,
    ProposalCast: Replica._proposal_cast,
    VotingAllowed: Replica._voting_allowed,
    BatchSealed: Replica._batch_sealed,
    BatchReceived: Replica._batch_received,
    BatchCast: Replica._batch_cast,
    AcknowledgementReceived: Replica._acknowledgement_received,
    TipCertificateReceived: Replica._tip_certificate_received,
    EvidenceReceived: Replica._evidence_received,
    BlockExecuted: Replica._block_executed,
    PeerHeightChanged: Replica._peer_height_changed,
}
"""The dispatch: one dict look-up a step; tests/house checks that it covers every Input."""
