"""One validator, or one node that follows: agreement and lanes joined, and what outlives a height.

`Replica.step(input, now_ms)` returns the effects the host must perform, in order. The rules of a height are
agreement/'s, the lanes dissemination/'s, blocks are judged in judgement.py and validators in convictions.py;
here each is told what happened. PROTOCOL.md's sections are named where a rule of theirs is applied.
"""

from collections.abc import Callable, Iterable
from typing import Any

from consensus.agreement.height import Height
from consensus.agreement.outcomes import BuildBlock, Decided, Outcome, Propose
from consensus.agreement.timeouts import VOTE_FLOOR_MS, Timeouts
from consensus.agreement.unchecked import UncheckedVotes
from consensus.blocks import Proposal, block_digest
from consensus.certificates import Certificate, CheckedCertificate
from consensus.chain import Chain, ChainStart
from consensus.convictions import EvidencePool
from consensus.dissemination.lanes import Lanes
from consensus.early import EarlyMessages
from consensus.effects import (
    CastProposal,
    CatchUp,
    CheckVotes,
    Decide,
    Effect,
    FetchBlock,
    FetchTipCertificate,
    Halt,
    ReportEvidence,
    SendBatchAgain,
    SendCertificate,
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
from consensus.judgement import Judged, Judgement, is_timely
from consensus.pacing import Pacing
from consensus.proposing import Proposing
from consensus.recent import RecentHeights
from consensus.rules import Rules
from consensus.timers import Timer, TimerKind
from consensus.validators import ValidatorSet
from consensus.votes import Vote

FORWARD_MS = 40
"""A polka is forwarded before its round can end, which takes VOTE_FLOOR_MS. Most often everybody has shown by
then that it needs none: certificates to all would be half of a height's messages."""
FORWARD_COMMIT_MS = 220
"""No round waits for a commit: by then the votes for the next, paced block have shown who has it."""
assert FORWARD_MS * 4 < VOTE_FLOOR_MS, "a forwarded polka must arrive while its round lasts"


ROUNDS_AHEAD = 256
"""A proposer of every round to come could fill memory with them; who is further sends its proposal again."""


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
        self.timeouts = timeouts or Timeouts()
        first = start.sets[start.height + 1]
        self.lanes = Lanes(me, first, rules.window, rules.advance_max)
        self.lanes.restore_committed(start.tips)
        self.evidence = EvidencePool(self.chain, evidence)
        self.voting = False
        self._restored = guard
        self._judgement = Judgement(self.chain, self.lanes)
        self._held_decision: Decided | None = None
        self._pacing = Pacing(rules)
        self._proposing = Proposing(me, self.chain, self.lanes, self.evidence, self._pacing)
        self._recent = RecentHeights()
        self._early = EarlyMessages()
        self._heartbeat_due = False
        self._unordered = 0
        self._polkas: list[CheckedCertificate] = []
        self.height = self._open(first, guard)
        self.unchecked = UncheckedVotes()

    def _open(self, validators: ValidatorSet, guard: Guard) -> Height:
        """Open the height above the chain. Below the restored guard's height nothing is signed: what was
        signed there is not remembered any more."""
        height = self.chain.height + 1
        if height == self._restored.height:
            guard = self._restored
        elif height < self._restored.height:
            guard = Guard(diverged=self._restored.diverged)
        return Height(
            height=height,
            validators=validators,
            me=self.me if self.me is not None and validators.power(self.me) > 0 else None,
            timeouts=self.timeouts,
            guard=guard,
            voting=self.voting and height >= self._restored.height,
        )

    def step(self, happened: Input, now_ms: int) -> list[Effect]:
        """Take one input; return what the host must do, in order."""
        effects: list[Effect] = self._keep_evidence(HANDLERS[type(happened)](self, happened, now_ms))
        effects += self._keep_evidence(self._wake(now_ms))
        # A new round or certificate can make held votes matter without another vote.
        return effects + self._check(self.unchecked.due(self.height))

    def _keep_evidence(self, effects: list[Effect]) -> list[Effect]:
        """Keep what was found for a block; leave out what was known before."""
        return [e for e in effects if type(e) is not ReportEvidence or self.evidence.add(e.evidence)]

    # --- what the host asks before it spends CPU on a signature -----------------------------------

    def wants_proposal(self, proposal: Proposal) -> bool:
        """Whether a proposal is from the proposer of a round of this height or the next."""
        ahead = proposal.height - self.height.height
        validators = self.chain.validators(proposal.height)
        if ahead not in (0, 1) or validators is None:
            return False
        if validators.proposer(proposal.height, proposal.round) != proposal.proposer:
            return False
        if ahead == 1:
            return proposal.round <= ROUNDS_AHEAD
        if self.height.has_proposal(proposal.round):
            return self.height.wants_rival(proposal)
        if self.stands(proposal):
            return True
        return 0 <= proposal.round - self.height.round <= ROUNDS_AHEAD

    def stands(self, proposal: Proposal) -> bool:
        """Whether a quorum stands for its value, or we hold to it: then the block is wanted from any
        round."""
        value = block_digest(proposal.block)
        return self.height.has_polka(value) or value == self.height.state.valid_value

    def polkas(self, height: int) -> list[CheckedCertificate]:
        """Return the polkas at hand of this height or of a recent one: evidence of a fork."""
        return self.height.keeper.polkas() if height == self.height.height else self._recent.polkas(height)

    def wants_certificate(self, certificate: Certificate) -> bool:
        """Whether a certificate would tell something new: of a decided height, only that it forked."""
        if certificate.height < self.height.height:
            return self._recent.is_second(certificate)
        return certificate.height > self.height.height or self.height.wants_certificate(certificate)

    # --- start and timers -------------------------------------------------------------------------

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
        if timer.kind is TimerKind.FORWARD:
            return self._forward(timer.height)
        if timer.height != self.height.height:
            return []
        if timer.kind is TimerKind.HEARTBEAT:
            self._heartbeat_due = True
            return []
        if timer.kind is TimerKind.CLOCK:
            return self._build(now_ms)
        return self._follow(self.height.timer_expired(timer, now_ms), now_ms)

    def _lane_timer(self) -> list[Effect]:
        effects: list[Effect] = [SendBatchAgain(digest) for digest in self.lanes.overdue()[:4]]
        certificate = self.lanes.own_certificate()
        if certificate is not None and certificate.sequence == self._unordered:
            effects.append(SendTipCertificate(certificate))
        self._unordered = certificate.sequence if certificate is not None else 0
        return [*effects, SetTimer(Timer(TimerKind.LANE), self.rules.resend_ms)]

    def _forward(self, height: int) -> list[Effect]:
        """Agreement 1, once the votes on their way have had time to say who needs it."""
        if height == self.height.height:
            polkas, self._polkas = self._polkas, []
            return [SendCertificate(polka) for polka in polkas]
        return self._recent.forward(height)

    def _wake(self, now_ms: int) -> list[Effect]:
        """Agreement 3: round 0 begins with the first reason to have a block."""
        if self.height.awake:
            return []
        due = self._heartbeat_due or self.chain.open_root() or self.lanes.certified_work()
        due = due or bool(self.evidence.for_block())
        if not due and not self.height.third_voted() and not self.height.has_signed():
            return []
        return self._follow(self.height.wake(now_ms), now_ms)

    def _voting_allowed(self, happened: VotingAllowed, now_ms: int) -> list[Effect]:
        if self.me is None or self.voting:
            return []
        self.voting = True
        effects = self.lanes.allow_acknowledging()
        if self.height.height < self._restored.height:
            return effects
        return effects + self._follow(self.height.allow_voting(now_ms), now_ms)

    # --- votes ------------------------------------------------------------------------------------

    def _vote_received(self, happened: VoteReceived, now_ms: int) -> list[Effect]:
        vote, link = happened.vote, happened.link
        if vote.height == self.height.height:
            if self.height.validators.power(vote.voter) == 0:
                return []
            return self._check(self.unchecked.add(link, vote, self.height))
        if vote.height > self.height.height:
            self._early.keep_vote(link, vote, self.height.height)
            return []
        return self._recent.late_vote(vote, link, now_ms)

    def _check(self, votes: tuple[Vote, ...]) -> list[Effect]:
        return [CheckVotes(votes)] if votes else []

    def _votes_checked(self, happened: VotesChecked, now_ms: int) -> list[Effect]:
        effects: list[Effect] = []
        for vote in happened.good:
            self._recent.reached(vote)
        now = [vote for vote in happened.good if vote.height == self.height.height]
        late = [vote for vote in happened.good if vote.height < self.height.height]
        if now:
            effects += self._follow(self.height.receive_votes(now, now_ms), now_ms)
        for vote in late:
            effects += self._recent.strengthen(vote)
        return effects

    def _vote_cast(self, happened: VoteCast, now_ms: int) -> list[Effect]:
        vote = happened.vote
        if vote.height < self.height.height:
            return self._votes_checked(VotesChecked((vote,)), now_ms)
        assert vote.height == self.height.height, f"an own vote for {vote.height} at {self.height.height}"
        return self._follow(self.height.vote_cast(vote, now_ms), now_ms)

    # --- certificates and decided blocks ----------------------------------------------------------

    def _certificate_received(self, happened: CertificateReceived, now_ms: int) -> list[Effect]:
        certificate = happened.certificate
        if certificate.height > self.height.height:
            return [CatchUp(certificate.height, happened.link)]
        if certificate.height < self.height.height:
            return self._recent.second_decision(certificate)
        return self._follow(self.height.receive_certificate(certificate, now_ms, happened.link), now_ms)

    def _block_received(self, happened: BlockReceived, now_ms: int) -> list[Effect]:
        block, certificate = happened.block, happened.certificate
        if block.height > self.height.height:
            return [CatchUp(block.height, happened.link)]
        if block.height < self.height.height:
            return self._recent.second_decision(certificate)
        assert certificate.value == block_digest(block), (
            "the host hands in a block only with its own certificate"
        )
        if block.parent != self.chain.digest:
            return [
                Halt(
                    f"a certified block at height {block.height} does not follow the block decided before it"
                )
            ]
        self._judgement.know(block)
        return self._follow(self.height.receive_block(certificate, now_ms), now_ms)

    # --- proposals --------------------------------------------------------------------------------

    def _proposal_received(self, happened: ProposalReceived, now_ms: int) -> list[Effect]:
        proposal = happened.proposal
        if proposal.height == self.height.height + 1:
            self._early.keep_proposal(happened.link, proposal)
            return []
        if proposal.height != self.height.height:
            return []
        timely = is_timely(proposal, self.rules, now_ms)
        judged = Judged(happened.link, proposal, block_digest(proposal.block), timely)
        effects: list[Effect] = []
        if proposal.polka is not None:
            polka = CheckedCertificate(proposal.polka)
            effects += self._follow(self.height.receive_certificate(polka, now_ms, happened.link), now_ms)
            if self.height.height != proposal.height:
                return effects
        rival = self._judgement.rival(judged)
        if rival is not None:
            effects.append(ReportEvidence(rival))
            if not self.height.has_polka(judged.value):
                return effects  # the first of a round is what we vote on
        return effects + self._judge(judged, now_ms)

    def _judge(self, judged: Judged, now_ms: int) -> list[Effect]:
        """Tell agreement what a proposal is worth, or have fetched what that waits for."""
        certified = self.height.has_polka(judged.value)
        verdict = self._judgement.judge(judged, self.height.validators, certified)
        if verdict.valid is None:
            return [
                FetchTipCertificate(tip.author, tip.sequence, tip.digest, judged.link)
                for tip in verdict.missing
            ]
        received = self.height.receive_proposal(
            judged.proposal, judged.value, verdict.valid, judged.timely, now_ms
        )
        return self._follow(received, now_ms)

    def _judge_waiting(self, now_ms: int) -> list[Effect]:
        effects: list[Effect] = []
        height = self.height.height
        for judged in self._judgement.waiting():
            if self.height.height != height:
                break
            effects += self._judge(judged, now_ms)
        return effects

    def _build(self, now_ms: int) -> list[Effect]:
        """Make a block for the round that waits for one; or set out what it waits for."""
        if not self.voting:
            return []
        made = self._proposing.next(self.height.round, self.height.validators, now_ms)
        if isinstance(made, Proposal):
            return self._cast_proposal(made)
        return [made] if made is not None else []

    def _cast_proposal(self, proposal: Proposal) -> list[Effect]:
        value = block_digest(proposal.block)
        guard = self.height.propose(proposal.round, value)
        if guard is None:
            return []
        self._judgement.know(proposal.block)
        return [CastProposal(proposal, guard)]

    def _proposal_cast(self, happened: ProposalCast, now_ms: int) -> list[Effect]:
        proposal = happened.proposal
        if proposal.height != self.height.height:
            return []
        value = block_digest(proposal.block)
        return self._follow(self.height.receive_proposal(proposal, value, True, True, now_ms), now_ms)

    # --- what agreement came to -------------------------------------------------------------------

    def _follow(self, outcomes: list[Outcome], now_ms: int) -> list[Effect]:
        """Pass effects on; act on what only this file can: build, propose, go to the next height."""
        if self._held_decision is not None:
            return []  # late precommits: they are in the certificate that its Decide will have
        effects: list[Effect] = []
        for outcome in outcomes:
            if isinstance(outcome, FetchBlock) and self._judgement.holds(outcome.value):
                continue
            if isinstance(outcome, SendCertificate) and outcome.certificate.round == self.height.round:
                self._polkas.append(outcome.certificate)
                effects.append(SetTimer(Timer(TimerKind.FORWARD, self.height.height), FORWARD_MS))
            elif isinstance(outcome, Effect):
                effects.append(outcome)
            elif isinstance(outcome, BuildBlock):
                self._proposing.ask(outcome.round)
                effects += self._build(now_ms)
            elif isinstance(outcome, Propose):
                block = self._judgement.block(outcome.value)
                if block is not None and self.me is not None:
                    proposal = Proposal(outcome.round, outcome.valid_round, self.me, block, outcome.polka)
                    effects += self._cast_proposal(proposal)
            else:
                effects += self._decided(outcome, now_ms)
        if any(self.height.has_polka(judged.value) for judged in self._judgement.waiting()):
            effects += self._judge_waiting(now_ms)
        return effects

    def _decided(self, decided: Decided, now_ms: int) -> list[Effect]:
        """Lines 49-54, and the next height at once, unless its set waits for execution (Blocks 1)."""
        block = self._judgement.block(decided.value)
        assert block is not None, f"height {self.height.height} decided a block that is not here"
        if self.chain.validators(block.height + 1) is None:
            self._held_decision = decided
            return []
        decided, self._held_decision = self.height.decided or decided, None
        self.chain.append(block, decided.value)
        self.lanes.commit(block.tips)
        before = self.height
        self.timeouts = before.measured(now_ms)
        self._recent.add(before)
        validators = self.chain.validators(block.height + 1)
        assert validators is not None, f"the set of {block.height + 1} is unknown"
        if validators is not before.validators:
            self.lanes.change_set(validators)
        self._judgement.height_decided()
        self._proposing.height_decided()
        self._heartbeat_due = False
        self._polkas.clear()
        for vote in decided.certificate.votes:
            # Who votes at a height computed the root after height - 2 (Blocks 5).
            self._pacing.peer_reached(vote.voter, block.height - 2, before.validators)
        late = self.unchecked.precommits_for(decided.round, decided.value)
        self.unchecked = UncheckedVotes()
        self.height = self._open(validators, before.closing_guard())
        effects: list[Effect] = [
            *self._check(late),
            SetTimer(Timer(TimerKind.FORWARD, block.height), FORWARD_COMMIT_MS),
            Decide(block, decided.certificate),
            SetTimer(Timer(TimerKind.HEARTBEAT, self.height.height), self.rules.heartbeat_ms),
        ]
        waiting = self.evidence.decided()
        if waiting:
            effects.append(SendEvidence(waiting))
        return effects + self._wake(now_ms) + self._take_early(now_ms)

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
        if self._held_decision is not None:
            return self._decided(self._held_decision, now_ms)
        return self._build(now_ms) + self._judge_waiting(now_ms)

    def _peer_height_changed(self, happened: PeerHeightChanged, now_ms: int) -> list[Effect]:
        self._pacing.peer_reached(happened.validator, happened.height, self.height.validators)
        return []

    def _evidence_received(self, happened: EvidenceReceived, now_ms: int) -> list[Effect]:
        return [ReportEvidence(happened.evidence)]

    # --- lanes ------------------------------------------------------------------------------------

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
        return effects + self._judge_waiting(now_ms)


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
