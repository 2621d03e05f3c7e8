"""The open height: its blocks are built, judged and agreed on, its votes checked.

agreement/height.py agrees on digests. Here a digest gets its block: proposing.py makes ours, judgement.py
says what a proposal is worth, and agreement is told; what it asks is done here or goes on to the host. There
is a new one for each height, and with the old one goes all that was of it alone. What outlives a height is
replica.py's.
"""

from consensus.agreement.height import Height
from consensus.agreement.outcomes import BuildBlock, Outcome
from consensus.agreement.timeouts import VOTE_FLOOR_MS
from consensus.agreement.unchecked import UncheckedVotes
from consensus.blocks import Block, CheckedProposal, Proposal, block_digest
from consensus.certificates import CheckedCertificate
from consensus.chain import Chain
from consensus.convictions import EvidencePool
from consensus.dissemination.lanes import Lanes
from consensus.effects import (
    CastProposal,
    CheckVotes,
    Effect,
    FetchBlock,
    FetchTipCertificate,
    Halt,
    ReportEvidence,
    SendCertificate,
    SetTimer,
)
from consensus.inputs import BlockReceived, Link
from consensus.judgement import Judged, Judgement, is_timely
from consensus.pacing import Pacing
from consensus.proposing import Proposing
from consensus.rules import Rules
from consensus.timers import Timer, TimerKind
from consensus.votes import CheckedVote, Vote

FORWARD_MS = 40
"""A polka is forwarded before its round can end, which takes VOTE_FLOOR_MS. Most often everybody has shown by
then that it needs none: certificates to all would be half of a height's messages."""
assert FORWARD_MS * 4 < VOTE_FLOOR_MS, "a forwarded polka must arrive while its round lasts"

ROUNDS_AHEAD = 256
"""A proposer of every round to come could fill memory with them; who is further sends its proposal again."""


class OpenHeight:
    """One height, from its opening to its decision, which `height.decided` then holds.

    Args:
        height: its agreement. Only its questions are for others; what happens comes through here.
    """

    def __init__(
        self, height: Height, rules: Rules, chain: Chain, lanes: Lanes, evidence: EvidencePool, pacing: Pacing
    ) -> None:
        self.height = height
        self._rules = rules
        self._chain = chain
        self._lanes = lanes
        self._evidence = evidence
        self._judgement = Judgement(chain, lanes)
        self._proposing = Proposing(height.me, chain, lanes, evidence, pacing)
        self._unchecked = UncheckedVotes()
        self._polkas: list[CheckedCertificate] = []
        """They wait for FORWARD_MS."""
        self._heartbeat_due = False

    def stands(self, proposal: Proposal) -> bool:
        """Whether a quorum stands for its value, or we hold to it: then the block is wanted from any
        round."""
        value = block_digest(proposal.block)
        return self.height.keeper.has_quorum(value) or value == self.height.state.valid_value

    def wants_proposal(self, proposal: Proposal) -> bool:
        """Whether a proposal by its round's proposer is worth its check."""
        height = self.height
        if height.proposals.has(proposal.round):
            return height.proposals.is_rival(proposal)
        if 0 <= proposal.round - height.round <= ROUNDS_AHEAD:
            return True
        # For its block alone, and once: its proposer can sign it for rounds without end.
        return self.stands(proposal) and not self._has_block(block_digest(proposal.block))

    def _has_block(self, value: bytes) -> bool:
        return self._judgement.holds(value) or self.height.proposals.is_valid(value)

    def wake(self, now_ms: int) -> list[Effect]:
        """Agreement 3: round 0 begins with the first reason to have a block."""
        height = self.height
        if height.awake:
            return []
        due = self._heartbeat_due or self._chain.open_root() or self._lanes.certified_work()
        due = due or bool(self._evidence.for_block())
        if not due and not height.third_voted() and not height.has_signed():
            return []
        return self._follow(height.wake(now_ms), now_ms)

    def allow_voting(self, now_ms: int) -> list[Effect]:
        """The twin check passed."""
        return self._follow(self.height.allow_voting(now_ms), now_ms)

    def timer_expired(self, timer: Timer, now_ms: int) -> list[Effect]:
        """Take a timer of this height."""
        if timer.kind is TimerKind.FORWARD:
            # Agreement 1, once the votes on their way have had time to say who needs it.
            polkas, self._polkas = self._polkas, []
            return [SendCertificate(polka) for polka in polkas]
        if timer.kind is TimerKind.HEARTBEAT:
            self._heartbeat_due = True
            return []
        if timer.kind is TimerKind.CLOCK:
            return self.build(now_ms)
        return self._follow(self.height.timer_expired(timer, now_ms), now_ms)

    def vote_received(self, link: Link, vote: Vote) -> list[Effect]:
        """Hold an unchecked vote; ask for the check of all that could matter with it."""
        if self.height.validators.power(vote.voter) == 0:
            return []
        return _check(self._unchecked.add(link, vote, self.height))

    def due(self) -> list[Effect]:
        """Ask for the check of votes that a new round or certificate made matter, without another vote."""
        return _check(self._unchecked.due(self.height))

    def late_precommits(self) -> list[Effect]:
        """Ask for the check of the held precommits for what was decided (Agreement 7)."""
        decided = self.height.decided
        assert decided is not None, f"height {self.height.height} is open"
        return _check(self._unchecked.precommits_for(decided.commit.round, decided.commit.value))

    def votes_checked(self, votes: list[CheckedVote], now_ms: int) -> list[Effect]:
        """Count votes whose signatures hold."""
        return self._follow(self.height.receive_votes(votes, now_ms), now_ms)

    def vote_cast(self, vote: CheckedVote, now_ms: int) -> list[Effect]:
        """Count our own vote."""
        return self._follow(self.height.vote_cast(vote, now_ms), now_ms)

    def certificate_received(self, certificate: CheckedCertificate, link: Link, now_ms: int) -> list[Effect]:
        """Take a polka or a commit."""
        return self._follow(self.height.receive_certificate(certificate, now_ms, link), now_ms)

    def block_received(self, received: BlockReceived, now_ms: int) -> list[Effect]:
        """Take a decided block, which stands in for all of its height's messages."""
        block, certificate = received.block, received.certificate
        assert certificate.value == block_digest(block), (
            "the host hands in a block only with its own certificate"
        )
        if block.parent != self._chain.digest:
            reason = f"a certified block at height {block.height} does not follow the block decided before it"
            return [Halt(reason)]
        return self._follow(self.height.receive_block(block, certificate, now_ms), now_ms)

    def proposal_received(self, link: Link, proposal: CheckedProposal, now_ms: int) -> list[Effect]:
        """Take a proposal: its polka first, then its block, of a round the first one."""
        timely = is_timely(proposal, self._rules, now_ms)
        judged = Judged(link, proposal, block_digest(proposal.block), timely)
        effects: list[Effect] = []
        if proposal.polka is not None:
            effects += self.certificate_received(CheckedCertificate(proposal.polka), link, now_ms)
        rival = self._judgement.rival(judged)
        if rival is not None:
            effects.append(ReportEvidence(rival))
            if not self.height.keeper.has_quorum(judged.value):
                return effects  # the first of a round is what we vote on
        return effects + self._judge(judged, now_ms)

    def _judge(self, judged: Judged, now_ms: int) -> list[Effect]:
        """Tell agreement what a proposal is worth, or have fetched what that waits for."""
        if self.height.decided is not None:
            return []
        has_quorum = self.height.keeper.has_quorum
        verdict = self._judgement.judge(judged, self.height.validators, has_quorum(judged.value))
        if verdict.valid is None:
            self._judgement.forget(self.height.round, has_quorum)
            return [
                FetchTipCertificate(tip.author, tip.sequence, tip.digest, judged.link)
                for tip in verdict.missing
            ]
        received = self.height.receive_proposal(
            judged.proposal, judged.value, verdict.valid, judged.timely, now_ms
        )
        return self._follow(received, now_ms)

    def judge_waiting(self, now_ms: int) -> list[Effect]:
        """Judge again what waits: a certificate came, a block was executed, or a quorum stands for it."""
        effects: list[Effect] = []
        for judged in self._judgement.waiting():
            effects += self._judge(judged, now_ms)
        return effects

    def build(self, now_ms: int) -> list[Effect]:
        """Make a block for the round that waits for one; or set out what it waits for."""
        made = self._proposing.next(self.height.round, self.height.validators, now_ms)
        if isinstance(made, Proposal):
            return self._cast_proposal(made)
        return [made] if made is not None else []

    def decided_block(self) -> Block:
        """Return the block of the decision."""
        decided = self.height.decided
        block = self.height.proposals.block(decided.commit.value) if decided is not None else None
        assert block is not None, f"height {self.height.height} decided a block that is not here"
        return block

    def _cast_proposal(self, proposal: Proposal) -> list[Effect]:
        guard = self.height.propose(proposal.round, block_digest(proposal.block))
        if guard is None:
            return []
        return [CastProposal(proposal, guard)]

    def proposal_cast(self, proposal: CheckedProposal, now_ms: int) -> list[Effect]:
        """Our own proposal is durable and on its way: only now it is voted on."""
        value = block_digest(proposal.block)
        return self._follow(self.height.receive_proposal(proposal, value, True, True, now_ms), now_ms)

    def _follow(self, outcomes: list[Outcome], now_ms: int) -> list[Effect]:
        """Pass effects on, build and propose what agreement asks for."""
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
                effects += self.build(now_ms)
            else:
                block, me = self.height.proposals.block(outcome.value), self.height.me
                if block is not None and me is not None:
                    again = Proposal(outcome.round, outcome.valid_round, me, block, outcome.polka)
                    effects += self._cast_proposal(again)
        has_quorum = self.height.keeper.has_quorum
        if any(has_quorum(judged.value) for judged in self._judgement.waiting()):
            effects += self.judge_waiting(now_ms)
        return effects


def _check(votes: tuple[Vote, ...]) -> list[Effect]:
    return [CheckVotes(votes)] if votes else []
