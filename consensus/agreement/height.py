"""One height: the rules of its rounds at work, on what its parts know.

rounds.py has the rules (arXiv:1807.04938). votekeeper.py counts, proposals.py knows what was judged, facts.py
turns both into what the rules ask; own_proposals.py asks for what we propose, casting.py casts what we vote,
own_votes.py knows what we signed, forwarding.py what others were sent, height_timers.py the waits. Here the
rules are asked, and each answer goes to the part that does it. A caller says what happened and gets a list of
effects, to be performed in order, mixed with the outcomes that only open_height.py can act on (outcomes.py).
Blocks are judged before they come here; to this file a value is a digest.
"""

from consensus.agreement.casting import Casting
from consensus.agreement.decided_height import DecidedHeight
from consensus.agreement.facts import standing_facts
from consensus.agreement.forwarding import ANY_LINK, Forwarding
from consensus.agreement.height_timers import HeightTimers
from consensus.agreement.outcomes import Outcome
from consensus.agreement.own_proposals import OwnProposals
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
from consensus.blocks import Block, CheckedProposal
from consensus.certificates import Certificate, CheckedCertificate, votes_of
from consensus.effects import PrepareBlock, ReportEvidence, SendAgain
from consensus.guard import Guard, Step
from consensus.inputs import Link
from consensus.quorum import is_third
from consensus.timers import Timer, TimerKind
from consensus.validators import ValidatorSet
from consensus.votes import CheckedVote, VoteKind


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
        self.me = me = me if me is not None and validators.power(me) > 0 else None
        """Our key, if we are in the set."""
        self.state = RoundState()
        self.decided: DecidedHeight | None = None
        """decision_p[h_p] of line 51."""
        self.awake = False
        """Whether round 0 has begun (Agreement 3)."""
        self.keeper = VoteKeeper(validators)
        """The counts, to be read."""
        self.proposals = Proposals()
        """What was proposed and judged, to be read: a host keeps on its disk what it votes for."""
        self._own = OwnVotes(height, me, guard, voting)
        self._timers = HeightTimers(height, timeouts)
        self._forwarding = Forwarding(height, me, self.keeper, self.proposals)
        self._casting = Casting(self._own, self.keeper, self._forwarding, self._timers)
        self._own_proposals = OwnProposals(self._own, self.proposals, self._forwarding)
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
        for below in guard.rests_on:
            self.keeper.restore_polka(CheckedCertificate(below))
        if guard.valid_polka is not None:
            self._valid_polka = CheckedCertificate(guard.valid_polka)
            self.keeper.restore_polka(self._valid_polka)

    @property
    def round(self) -> int:
        """The current round."""
        return self.state.round

    def has_signed(self) -> bool:
        """Whether anything was signed at this height, by this or an earlier run."""
        return self._own.has_signed()

    def refuses(self, value: bytes) -> bool:
        """Whether a value was judged here and found invalid."""
        return self.proposals.knows(value) and not self.proposals.is_valid(value)

    def wants_certificate(self, certificate: Certificate) -> bool:
        """Whether a certificate would tell something new: asked before its signatures are checked."""
        return self.decided is None and self.keeper.wants(certificate)

    def third_voted(self) -> bool:
        """Whether more than a third has voted at this height (Agreement 3)."""
        return is_third(self.keeper.heard(), self.validators.total)

    def measured(self, now_ms: int) -> Timeouts:
        """Return the timeouts for the next height: ours, with this height's proposal-to-quorum time taken
        in."""
        decided = self.decided
        arrived_ms = self.proposals.arrived_ms(decided.commit.round) if decided is not None else None
        return self._timers.measured(arrived_ms, now_ms)

    def closing_guard(self) -> Guard:
        """Return the guard to open the next height with: it carries `diverged` and what it was signed at."""
        assert self.decided is not None, f"height {self.height} is open"
        polkas = self.keeper.with_below(self._valid_polka)
        return self._own.closing_guard(self.state, polkas, self.decided.commit.value)

    def wake(self, now_ms: int) -> list[Outcome]:
        """Begin round 0, for which until now no timer ran (Agreement 3). Again, or too late, it does nothing.

        A height restored with something signed is to be woken at once: its timers run again.
        """
        if self.awake or self.decided is not None:
            return []
        out: list[Outcome] = []
        self.awake = True
        if self.has_signed():
            out += self._timers.resend()
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
        found = self.proposals.take(proposal, offered, self.state.round, now_ms)
        if found is not None:
            out.append(ReportEvidence(found))
        kept = self.proposals.has(proposal.round)
        if kept or self.keeper.has_quorum(value) or value == self.state.valid_value:
            self._learn(value, valid, proposal.block, out)
        self._run(now_ms, out)
        self._forget()
        return out

    def receive_block(self, block: Block, certificate: CheckedCertificate, now_ms: int) -> list[Outcome]:
        """Take a decided block with its certificate: a commit stands for its validity."""
        if self.decided is not None:
            return []
        out: list[Outcome] = []
        self._learn(certificate.value, True, block, out)
        return out + self.receive_certificate(certificate, now_ms)

    def receive_votes(self, votes: list[CheckedVote], now_ms: int) -> list[Outcome]:
        """Count votes of this height. After the decision they may still strengthen its certificate, of which
        nobody was told yet: the next height opens when its set is known."""
        if self.decided is not None:
            self.decided.strengthen(votes)
            return []
        out: list[Outcome] = []
        for vote in votes:
            assert vote.height == self.height, f"a vote for {vote.height} at {self.height}"
            found = self.keeper.add(vote)
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
        out: list[Outcome] = [ReportEvidence(found) for found in self.keeper.add_certificate(certificate)]
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
        return self._own.guard(self.state, self.keeper.with_below(self._valid_polka))

    def _run(
        self, now_ms: int, out: list[Outcome], expired: TimerKind | None = None, link: Link = ANY_LINK
    ) -> None:
        """Let rules fire until all are silent. Each moves the state on, so this ends."""
        while self.decided is None:
            round_ = self.state.round
            facts = standing_facts(round_, self.keeper, self.proposals, expired)
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
            block = self.proposals.block(self._valid_polka.value)
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
        out += self._own_proposals.ask(self.state, self._valid_polka)

    def _cast(self, kind: VoteKind, value: bytes | None, out: list[Outcome]) -> None:
        out += self._casting.cast(kind, value, self.state, self._valid_polka)

    def _polka_seen(self, now_ms: int) -> None:
        value = self.state.valid_value
        assert value is not None
        self._valid_polka = self.keeper.polka(self.state.round, value)
        self._timers.polka_seen(now_ms)

    def _decide(self, commit: Commit, now_ms: int, out: list[Outcome]) -> None:
        """Line 51, and before it the precommit that a decision brings (Agreement 7)."""
        locked = self._casting.locked_on_decision(commit.round, commit.value, self.state)
        if locked is not None:
            self.state, polka = locked
            if polka is not None:
                self._valid_polka = polka
            self._cast(VoteKind.PRECOMMIT, commit.value, out)
        self.decided = DecidedHeight(self.keeper, self.keeper.commit(commit.round, commit.value))
        self._timers.decided(now_ms)

    def _learn(self, value: bytes, valid: bool, block: Block, out: list[Outcome]) -> None:
        self.proposals.learn(value, valid, block)
        awaited = self.awake and self.state.step is Step.PROPOSE and value == self.state.valid_value
        if awaited and self._proposes(self.state.round):
            self._ask_for_proposal(out)

    def _forget(self) -> None:
        """Hold memory to what rules can still ask, however many rounds pass."""
        state = self.state
        self.keeper.forget(state.round, (state.locked_round, state.valid_round))
        self.proposals.forget(state.round, self.keeper)
