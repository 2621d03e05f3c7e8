"""One height: the rules of its rounds at work, on what its parts know.

rounds.py has the rules (arXiv:1807.04938). votekeeper.py counts, proposals.py knows what was judged, facts.py
turns both into what the rules ask; own_votes.py knows what we signed, forwarding.py what others were sent,
height_timers.py the waits. Here the rules are asked and what they answer is done, with what PROTOCOL.md adds:
polkas forwarded, `polka_round` named, the precommit upon deciding. A caller says what happened and gets a
list of effects, to be performed in order, mixed with the outcomes that only replica.py can act on
(outcomes.py). Blocks are judged before they come here; to this file a value is a digest.
"""

import msgspec

from consensus.agreement.facts import standing_facts
from consensus.agreement.forwarding import ANY_LINK, Forwarding
from consensus.agreement.height_timers import HeightTimers
from consensus.agreement.outcomes import BuildBlock, Decided, Outcome, Propose
from consensus.agreement.own_votes import OwnVotes
from consensus.agreement.proposals import Proposals
from consensus.agreement.rounds import (
    ENTERING,
    STANDING,
    Action,
    Commit,
    Enter,
    Facts,
    Fired,
    GetValue,
    Offer,
    Offered,
    RoundState,
    Schedule,
    first_to_fire,
    line_18,
)
from consensus.agreement.timeouts import Timeouts
from consensus.agreement.votekeeper import VoteKeeper
from consensus.blocks import Block, CheckedProposal, Proposal
from consensus.certificates import Certificate, CheckedCertificate, votes_of
from consensus.effects import CastVote, Effect, PrepareBlock, ReportEvidence, SendAgain, StrengthenCommit
from consensus.guard import Guard, Step
from consensus.inputs import Link
from consensus.quorum import is_third
from consensus.timers import Timer, TimerKind
from consensus.validators import ValidatorSet
from consensus.votes import NIL, CheckedVote, Vote, VoteKind


class Height:
    """The agreement of one height, seen by one node.

    Args:
        me: our validator key; None, or one outside the set, follows and signs nothing.
        guard: the latest durable one. Of this height, it restores place, lock, valid value and what was
            precommitted; of an earlier one only `diverged` is taken (own_votes.diverged_after); under one of
            a later height nothing is signed until that height is reached.
        voting: whether signing is allowed yet (PROTOCOL, Twin).
    """

    def __init__(
        self,
        height: int,
        validators: ValidatorSet,
        me: bytes | None,
        timeouts: Timeouts,
        guard: Guard,
        voting: bool,
    ) -> None:
        self.height = height
        self.validators = validators
        self.decided: Decided | None = None
        self.awake = False
        self.state = RoundState()
        me = me if me is not None and validators.power(me) > 0 else None
        self._keeper = VoteKeeper(validators)
        self._proposals = Proposals()
        self._own = OwnVotes(height, me, guard, voting)
        self._forwarding = Forwarding(height, me, self._keeper, self._proposals)
        self._timers = HeightTimers(height, timeouts)
        self._asked_round = -1
        self._valid_polka: CheckedCertificate | None = None
        if guard.height == height:
            self._restore(guard)

    def _restore(self, guard: Guard) -> None:
        self.state = RoundState(
            round=guard.round,
            step=guard.step,
            locked_round=guard.locked_round,
            locked_value=guard.locked_value,
            valid_round=guard.valid_round,
            valid_value=guard.valid_value,
        )
        if guard.valid_polka is not None:
            self._valid_polka = CheckedCertificate(guard.valid_polka)
            self._keeper.restore_polka(self._valid_polka)

    # --- what a caller may ask --------------------------------------------------------------------

    @property
    def round(self) -> int:
        """The current round."""
        return self.state.round

    def has_signed(self) -> bool:
        """Whether anything was signed at this height, by this or an earlier run."""
        return self._own.has_signed()

    def has_proposal(self, round_: int) -> bool:
        """Whether a proposal of this round was judged."""
        return self._proposals.has(round_)

    def wants_rival(self, proposal: Proposal) -> bool:
        """Whether a second proposal of a round convicts its proposer: asked before its signature is
        checked."""
        return self._proposals.is_rival(proposal)

    def has_polka(self, value: bytes) -> bool:
        """Whether a quorum stands for a value, in whichever round and kind."""
        return any(c.value == value for c in (*self._keeper.polkas(), *self._keeper.commits()))

    def refuses(self, value: bytes) -> bool:
        """Whether a value was judged here and found invalid."""
        return self._proposals.knows(value) and not self._proposals.is_valid(value)

    def wants_certificate(self, certificate: Certificate) -> bool:
        """Whether a certificate would tell something new: asked before its signatures are checked."""
        return self.decided is None and not self._keeper.has(certificate)

    def wants_late_precommit(self, vote: Vote) -> bool:
        """Whether a vote could strengthen the decision: asked before its signature is checked."""
        return (
            self.decided is not None
            and self.validators.power(vote.voter) > 0
            and self.decided.is_strengthened_by(vote)
        )

    def third_voted(self) -> bool:
        """Whether more than a third has voted at this height (Agreement 3)."""
        return is_third(self._keeper.heard(), self.validators.total)

    @property
    def me(self) -> bytes | None:
        """Our key, if we are in the set."""
        return self._own.me

    @property
    def proposals(self) -> Proposals:
        """What was proposed, to be read: a host keeps on its disk what it votes for."""
        return self._proposals

    @property
    def keeper(self) -> VoteKeeper:
        """The counts, to be read: unchecked.py asks them which votes could matter."""
        return self._keeper

    def measured(self, now_ms: int) -> Timeouts:
        """Return the timeouts for the next height: ours, with this height's proposal-to-quorum time taken
        in."""
        arrived_ms = self._proposals.arrived_ms(self.decided.round) if self.decided is not None else None
        return self._timers.measured(arrived_ms, now_ms)

    def closing_guard(self) -> Guard:
        """Return the guard to open the next height with: it carries `diverged` and what it was signed at."""
        assert self.decided is not None, f"height {self.height} is open"
        return self._own.closing_guard(self.state, self._valid_polka, self.decided.value)

    # --- what happens -----------------------------------------------------------------------------

    def wake(self, now_ms: int) -> list[Outcome]:
        """Begin round 0, for which until now no timer ran (Agreement 3). Again, or too late, it does nothing.

        A height restored with something signed is to be woken at once: its timers run again.
        """
        if self.awake or self.decided is not None:
            return []
        out: list[Outcome] = []
        self.awake = True
        if self.has_signed():
            out.append(self._timers.resend())
        if self.state.step is Step.PROPOSE:
            self._enter(self.state.round, out)
        self._run(now_ms, out)
        return out

    def allow_voting(self, now_ms: int) -> list[Outcome]:
        """The twin check passed: cast what the rules asked for in this round so far, and vote from now on."""
        if self._own.voting:
            return []
        withheld = self._own.allow()
        out: list[Outcome] = []
        if self.decided is not None:
            return out
        for round_, kind, value in withheld:
            if round_ == self.state.round:
                self._cast(kind, value, out)
        if self.awake and self.state.step is Step.PROPOSE and self._proposes(self.state.round):
            self._ask_for_proposal(out)
        self._run(now_ms, out)
        return out

    def receive_proposal(
        self, proposal: CheckedProposal, value: bytes, valid: bool, timely: bool, now_ms: int
    ) -> list[Outcome]:
        """Take a judged proposal of any round; the one of an own CastProposal too, once it is durable.

        The first of a round is what we vote on, a second is evidence. A value with a quorum is known as
        valid or not whichever proposal of this height brought it.
        """
        if self.decided is not None:
            return []
        expected = self.validators.proposer(self.height, proposal.round)
        assert proposal.proposer == expected, f"a proposal of round {proposal.round} from another proposer"
        out: list[Outcome] = []
        offered = Offered(value, proposal.valid_round, valid, timely)
        found = self._proposals.take(proposal, offered, self.state.round, now_ms)
        if found is not None:
            out.append(ReportEvidence(found))
        if self.has_proposal(proposal.round) or self.has_polka(value) or value == self.state.valid_value:
            self._learn(value, valid, proposal.block, out)
        self._run(now_ms, out)
        return out

    def receive_block(self, certificate: CheckedCertificate, now_ms: int) -> list[Outcome]:
        """Take a decided block's certificate; the caller holds the block. A commit stands for its
        validity."""
        if self.decided is not None:
            return []
        out: list[Outcome] = []
        self._learn(certificate.value, True, None, out)
        return out + self.receive_certificate(certificate, now_ms)

    def receive_votes(self, votes: list[CheckedVote], now_ms: int) -> list[Outcome]:
        """Count votes of this height. After the decision they may still strengthen its certificate."""
        if self.decided is not None:
            stronger = self.late_precommits(votes)
            return [StrengthenCommit(stronger)] if stronger is not None else []
        out: list[Outcome] = []
        for vote in votes:
            assert vote.height == self.height, f"a vote for {vote.height} at {self.height}"
            found = self._keeper.add(vote)
            if found is not None:
                out.append(ReportEvidence(found))
        self._run(now_ms, out)
        self._forget()
        return out

    def receive_certificate(
        self, certificate: CheckedCertificate, now_ms: int, link: Link = ANY_LINK
    ) -> list[Outcome]:
        """Take a polka or a commit of this height, whole. `link` is asked for the block if it is not here."""
        if self.decided is not None:
            voted = [CheckedVote(vote) for vote in votes_of(certificate)]
            return self.receive_votes(voted, now_ms)
        assert certificate.height == self.height, f"a certificate for {certificate.height} at {self.height}"
        out: list[Outcome] = [ReportEvidence(found) for found in self._keeper.add_certificate(certificate)]
        self._run(now_ms, out, link=link)
        self._forget()
        return out

    def vote_cast(self, vote: CheckedVote, now_ms: int) -> list[Outcome]:
        """An own vote is durable and on its way: only now it counts."""
        assert vote.voter == self.me, "a vote of another cast as our own"
        return self.receive_votes([vote], now_ms)

    def timer_expired(self, timer: Timer, now_ms: int) -> list[Outcome]:
        """A timer that this height set has run out. One of an earlier round or height does nothing."""
        if timer.height != self.height or self.decided is not None:
            return []
        out: list[Outcome] = []
        if timer.kind is TimerKind.RESEND:
            if self.has_signed():
                out.append(SendAgain(self.height))
            out += self._forwarding.again(self.state.round, self._valid_polka)
            out.append(self._timers.resent())
        elif timer.round == self.state.round:
            self._run(now_ms, out, expired=timer.kind)
        return out

    def propose(self, round_: int, value: bytes) -> Guard | None:
        """Return the guard to cast a proposal under (its `signed` is for the host to fill), or None if it
        may not (or no longer) be signed.

        For a new block after BuildBlock as for the value of a Propose. A guard given is a place taken: a
        second proposal of the round gets None.
        """
        if round_ != self.state.round or not self._own.may_propose(round_):
            return None
        facts = Facts(proposer=self._proposes(round_), own_value=value)
        if line_18(self.state, facts) is None:
            return None
        self._own.propose(round_)
        return self._own.guard(self.state, self._valid_polka)

    def convict(self, vote: CheckedVote) -> list[Effect]:
        """Take a vote that clashes with one that was counted, after the decision too."""
        found = self._keeper.add(vote) if self._keeper.would_convict(vote) else None
        return [ReportEvidence(found)] if found is not None else []

    def late_precommits(self, votes: list[CheckedVote]) -> CheckedCertificate | None:
        """Return a stronger certificate, if these add to the decided round's precommits (Agreement 7)."""
        wanted = {vote.voter: vote for vote in votes if self.wants_late_precommit(vote)}
        if not wanted or self.decided is None:
            return None
        self.decided = self.decided.with_precommits(wanted.values())
        return self.decided.certificate

    # --- the rules at work ------------------------------------------------------------------------

    def _run(
        self, now_ms: int, out: list[Outcome], expired: TimerKind | None = None, link: Link = ANY_LINK
    ) -> None:
        """Let rules fire until all are silent. Each moves the state on, so this ends."""
        while self.decided is None:
            round_ = self.state.round
            facts = standing_facts(round_, self._keeper, self._proposals, expired)
            fired = first_to_fire(STANDING, self.state, facts)
            if fired is None:
                break
            self._perform(fired, now_ms, out)
            if self.state.round != round_:
                expired = None
        if self.decided is None:
            out += self._forwarding.missing_blocks(self.state.round, link)

    def _perform(self, fired: Fired, now_ms: int, out: list[Outcome]) -> None:
        self.state = fired.state
        if fired.line == 36:
            self._polka_seen(now_ms)
        for action in fired.actions:
            self._act(action, now_ms, out)
        if fired.line == 36:
            assert self._valid_polka is not None
            # Agreement 1: without gossip, who acts on a polka sees to it that all get it before the round
            # ends.
            out += self._forwarding.polka(self._valid_polka)
            block = self._proposals.block(self._valid_polka.value)
            if block is not None:
                out.append(PrepareBlock(block))

    def _act(self, action: Action, now_ms: int, out: list[Outcome]) -> None:
        if isinstance(action, Schedule):
            out.append(self._timers.of_round(action.kind, self.state.round))
        elif isinstance(action, Enter):
            self.awake = True
            out += self._forwarding.split(action.round - 1)
            self._enter(action.round, out)
            self._forget()
        elif isinstance(action, Commit):
            self._decide(action, now_ms, out)
        elif isinstance(action, GetValue | Offer):
            self._ask_for_proposal(out)
        else:
            self._cast(action.kind, action.value, out)

    def _enter(self, round_: int, out: list[Outcome]) -> None:
        """Line 11, StartRound."""
        facts = Facts(entering=round_, proposer=self._proposes(round_))
        fired = first_to_fire(ENTERING, self.state, facts)
        assert fired is not None, f"no rule begins round {round_}"
        self._perform(fired, 0, out)

    def _proposes(self, round_: int) -> bool:
        return self.me is not None and self.validators.proposer(self.height, round_) == self.me

    def _ask_for_proposal(self, out: list[Outcome]) -> None:
        """Lines 15-18, once a round and only while a proposal may be signed."""
        state = self.state
        if not self._own.may_propose(state.round) or self._asked_round == state.round:
            return
        if state.valid_value is None:
            self._asked_round = state.round
            out.append(BuildBlock(state.round))
        elif self._proposals.knows(state.valid_value):
            assert self._valid_polka is not None, f"a valid value without its polka at height {self.height}"
            self._asked_round = state.round
            out += self._forwarding.below(self._valid_polka)
            out.append(Propose(state.round, state.valid_value, state.valid_round, self._valid_polka))
        else:
            # Restored from the guard, which holds no block.
            out += self._forwarding.block(state.valid_value)

    def _polka_seen(self, now_ms: int) -> None:
        value = self.state.valid_value
        assert value is not None
        self._valid_polka = self._keeper.polka(self.state.round, value)
        self._timers.polka_seen(now_ms)

    def _decide(self, commit: Commit, now_ms: int, out: list[Outcome]) -> None:
        if commit.round == self.state.round and self.state.step is not Step.PRECOMMIT:
            self._precommit_decided(commit, out)
        certificate = self._keeper.commit(commit.round, commit.value)
        self.decided = Decided(commit.round, commit.value, certificate)
        self._timers.decided(now_ms)
        out.append(self.decided)

    def _precommit_decided(self, commit: Commit, out: list[Outcome]) -> None:
        """Agreement 7: our precommit still strengthens the block. It locks as line 36 does.

        Not where we precommitted another value before without this one's polka at hand: such a vote is
        diverged and adds nothing, and after a crash before the decision is durable we could be unable to
        name the polka that moved our lock, which looks like amnesia.
        """
        polka = self._keeper.polka(commit.round, commit.value)
        if polka is None and self._own.strayed_from(commit.value):
            return
        changes: dict[str, object] = {"locked_round": commit.round, "locked_value": commit.value}
        if polka is not None:
            changes |= {"valid_round": commit.round, "valid_value": commit.value}
            self._valid_polka = polka
        self.state = msgspec.structs.replace(self.state, step=Step.PRECOMMIT, **changes)
        self._cast(VoteKind.PRECOMMIT, commit.value, out)

    def _cast(self, kind: VoteKind, value: bytes | None, out: list[Outcome]) -> None:
        own, round_ = self._own, self.state.round
        if own.me is not None and not own.voting:
            own.withhold(round_, kind, value)
        if not own.may_cast(round_, kind):
            return
        if kind is VoteKind.PREVOTE:
            vote = own.prevote(round_, *self._named_polka(value, out))
        else:
            vote = own.precommit(round_, value)
        out.append(CastVote(vote, own.guard(self.state, self._valid_polka)))
        out.append(self._timers.resend())

    def _named_polka(self, value: bytes | None, out: list[Outcome]) -> tuple[bytes | None, int]:
        """Return the value to prevote, with `polka_round` (Agreement 5), and send that polka ahead of the
        vote."""
        if value is NIL:
            return NIL, -1
        polka = self._keeper.latest_polka(value, self.state.round)
        polka_round = polka.round if polka is not None else -1
        # Only a restart that lost the polka of our lock (the guard keeps that of the valid value) comes
        # here: the vote could then be taken for amnesia about what we precommitted before the lock. Nil is
        # always honest.
        if self._own.strayed_from(value) and polka_round < self.state.locked_round:
            return NIL, -1
        if polka is not None:
            out += self._forwarding.polka(polka)
        return value, polka_round

    def _learn(self, value: bytes, valid: bool, block: Block | None, out: list[Outcome]) -> None:
        self._proposals.learn(value, valid, block)
        awaited = self.awake and self.state.step is Step.PROPOSE and value == self.state.valid_value
        if awaited and self._proposes(self.state.round):
            self._ask_for_proposal(out)

    def _forget(self) -> None:
        """Hold memory to what rules can still ask, however many rounds pass."""
        state = self.state
        self._keeper.forget(state.round, (state.locked_round, state.valid_round))
        self._proposals.forget(state.round, self._keeper)
