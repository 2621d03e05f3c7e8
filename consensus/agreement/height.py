"""One height: the state of its rounds, the facts its rules are asked with, its timers and own votes.

rounds.py has the rules (arXiv:1807.04938), votekeeper.py the counts. Here they meet what PROTOCOL.md adds:
forwarding of polkas, marks on votes, the guard, the precommit upon deciding. A caller says what happened and
gets a list of effects, to be performed in order, mixed with the outcomes that only replica.py can act on
(BuildBlock, Propose, Decided). Blocks are judged before they come here; to this file a value is a digest.

The hardest promise kept here: no two votes for one (round, step), whatever the restarts. A vote leaves only
above `_place`, which moves before the vote is handed out and comes back with the durable guard.
"""

import msgspec

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
from consensus.bounds import ROUND_MAX
from consensus.certificates import Certificate, CheckedCertificate, certificate_of, votes_of
from consensus.effects import (
    CastVote,
    Effect,
    FetchBlock,
    PrepareBlock,
    ReportEvidence,
    SendAgain,
    SendCertificate,
    SendVotes,
    SetTimer,
    StrengthenCommit,
)
from consensus.evidence import evidence_of_proposals
from consensus.guard import Guard, Step
from consensus.inputs import Link
from consensus.quorum import is_third
from consensus.timers import Timer, TimerKind
from consensus.validators import ValidatorSet
from consensus.votes import NIL, CheckedVote, Vote, VoteKind

ANY_LINK: Link = 0
"""In FetchBlock: no link is known to have it; ask whichever."""

STEP_OF = {VoteKind.PREVOTE: Step.PREVOTE, VoteKind.PRECOMMIT: Step.PRECOMMIT}


class BuildBlock(msgspec.Struct, frozen=True):
    """Line 18, getValue(): build a block for this round, then ask `Height.propose` for leave."""

    round: int


class Propose(msgspec.Struct, frozen=True):
    """Lines 16 and 19: propose our valid value again, with its polka; ask `Height.propose` for leave."""

    round: int
    value: bytes
    valid_round: int
    polka: CheckedCertificate


class Decided(msgspec.Struct, frozen=True):
    """Line 51. The certificate is the heaviest at hand; `late_precommits` may strengthen it."""

    round: int
    value: bytes
    certificate: CheckedCertificate


Outcome = Effect | BuildBlock | Propose | Decided


def diverged_after(guard: Guard, height: int, decided: bytes) -> int:
    """Return `diverged` for heights above `height`, given what this guard precommitted there (Agreement 6).

    `closing_guard` applies it. After a restart the durable guard may be of a height decided since: then
    apply it with the value decided at the guard's height before the guard opens a later one.
    """
    strayed = guard.height == height and any(value != decided for value in guard.precommitted)
    return height if strayed else guard.diverged


class Height:
    """The agreement of one height, seen by one node.

    Args:
        me: our validator key; None, or one outside the set, follows and signs nothing.
        guard: the latest durable one. Of this height, it restores place, lock, valid value and what was
            precommitted; of an earlier one only `diverged` is taken (see diverged_after); under one of a
            later height nothing is signed until that height is reached.
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
        self.timeouts = timeouts
        self.decided: Decided | None = None
        self.awake = False
        self.state = RoundState()
        self._me = me if me is not None and validators.power(me) > 0 else None
        self._voting = voting
        self._keeper = VoteKeeper(validators)
        self._proposals: dict[int, tuple[CheckedProposal, Offered]] = {}
        self._blocks: dict[bytes, Block] = {}
        self._valid: dict[bytes, bool] = {}
        self._fetched: set[bytes] = set()
        self._forwarded: set[tuple[int, bytes]] = set()
        self._convicted_proposers: set[bytes] = set()
        self._withheld: list[tuple[int, VoteKind, bytes | None]] = []
        self._asked_round = -1
        self._resent = 0
        self._arrived_ms: dict[int, int] = {}
        self._polka_ms: int | None = None
        self._decided_ms: int | None = None
        self._place: tuple[int, Step] = (-1, Step.PROPOSE)
        self._precommitted: tuple[bytes, ...] = ()
        self._diverged = guard.diverged
        self._valid_polka: CheckedCertificate | None = None
        self._guard_ahead = guard if guard.height > height else None
        if guard.height == height:
            self._restore(guard)
        elif guard.height > height:
            # The chain on disk is older than the guard: what was signed here is forgotten, so nothing may be.
            self._place = (ROUND_MAX + 1, Step.PRECOMMIT)

    def _restore(self, guard: Guard) -> None:
        self.state = RoundState(
            round=guard.round,
            step=guard.step,
            locked_round=guard.locked_round,
            locked_value=guard.locked_value,
            valid_round=guard.valid_round,
            valid_value=guard.valid_value,
        )
        self._place = (guard.round, guard.step)
        self._precommitted = guard.precommitted
        if guard.valid_polka is not None:
            self._valid_polka = CheckedCertificate(guard.valid_polka)
            self._keeper.restore_polka(self._valid_polka)

    # --- what a caller may ask
    # ---------------------------------------------------------------------------------

    @property
    def round(self) -> int:
        """The current round."""
        return self.state.round

    def has_signed(self) -> bool:
        """Whether anything was signed at this height, by this or an earlier run."""
        return self._place[0] >= 0

    def has_proposal(self, round_: int) -> bool:
        """Whether a proposal of this round was judged."""
        return round_ in self._proposals

    def has_polka(self, value: bytes) -> bool:
        """Whether a quorum stands for a value, in whichever round and kind."""
        return any(c.value == value for c in (*self._keeper.polkas(), *self._keeper.commits()))

    def wants_certificate(self, certificate: Certificate) -> bool:
        """Whether a certificate would tell something new: asked before its signatures are checked."""
        if self.decided is not None:
            return False
        if certificate.kind is VoteKind.PREVOTE:
            return self._keeper.polka(certificate.round, certificate.value) is None
        return all(
            (c.round, c.value) != (certificate.round, certificate.value) for c in self._keeper.commits()
        )

    def wants_late_precommit(self, vote: Vote) -> bool:
        """Whether a vote could strengthen the decision: asked before its signature is checked."""
        if (
            self.decided is None
            or vote.kind is not VoteKind.PRECOMMIT
            or self.validators.power(vote.voter) == 0
        ):
            return False
        place = (self.decided.round, self.decided.value)
        voters = {member.voter for member in self.decided.certificate.votes}
        return (vote.round, vote.value) == place and vote.voter not in voters

    def third_voted(self) -> bool:
        """Whether more than a third has voted at this height (Agreement 3)."""
        return is_third(self._keeper.heard(), self.validators.total)

    @property
    def me(self) -> bytes | None:
        """Our key, if we are in the set."""
        return self._me

    @property
    def keeper(self) -> VoteKeeper:
        """The counts, to be read: unchecked.py asks them which votes could matter."""
        return self._keeper

    def measured(self, now_ms: int) -> Timeouts:
        """Return the timeouts for the next height: ours, with this height's proposal-to-quorum time taken
        in."""
        arrived = self._arrived_ms.get(self.decided.round) if self.decided is not None else None
        if arrived is None or self._decided_ms is None:
            return self.timeouts
        polka_ms = self._polka_ms if self._polka_ms is not None and self._polka_ms >= arrived else arrived
        return self.timeouts.observed(max(polka_ms - arrived, min(now_ms, self._decided_ms) - polka_ms))

    def closing_guard(self) -> Guard:
        """Return the guard to open the next height with: it carries `diverged` and what it was signed at."""
        assert self.decided is not None, f"height {self.height} is open"
        if self._guard_ahead is not None:
            return self._guard_ahead
        guard = self._guard()
        return msgspec.structs.replace(guard, diverged=diverged_after(guard, self.height, self.decided.value))

    # --- what happens
    # ----------------------------------------------------------------------------------------------

    def wake(self, now_ms: int) -> list[Outcome]:
        """Begin round 0, for which until now no timer ran (Agreement 3). Again, or too late, it does nothing.

        A height restored with something signed is to be woken at once: its timers run again.
        """
        if self.awake or self.decided is not None:
            return []
        out: list[Outcome] = []
        self.awake = True
        if self.has_signed():
            self._set_timer(TimerKind.RESEND, out)
        if self.state.step is Step.PROPOSE:
            self._enter(self.state.round, out)
        self._run(now_ms, out)
        return out

    def allow_voting(self, now_ms: int) -> list[Outcome]:
        """The twin check passed: cast what the rules asked for in this round so far, and vote from now on."""
        if self._voting:
            return []
        self._voting = True
        withheld, self._withheld = self._withheld, []
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

    def end_voting(self) -> None:
        """Sign nothing more at this height."""
        self._voting = False

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
        known = self._proposals.get(proposal.round)
        if known is None:
            if self._keep_proposal(proposal):
                self._proposals[proposal.round] = (
                    proposal,
                    Offered(value, proposal.valid_round, valid, timely),
                )
                self._arrived_ms[proposal.round] = now_ms
        elif known[1].value != value or known[1].valid_round != proposal.valid_round:
            found = evidence_of_proposals(known[0], proposal)
            if found is not None and proposal.proposer not in self._convicted_proposers:
                self._convicted_proposers.add(proposal.proposer)
                out.append(ReportEvidence(found))
        if proposal.round in self._proposals or self.has_polka(value) or value == self.state.valid_value:
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
        assert vote.voter == self._me, "a vote of another cast as our own"
        return self.receive_votes([vote], now_ms)

    def timer_expired(self, timer: Timer, now_ms: int) -> list[Outcome]:
        """A timer that this height set has run out. One of an earlier round or height does nothing."""
        if timer.height != self.height or self.decided is not None:
            return []
        out: list[Outcome] = []
        if timer.kind is TimerKind.RESEND:
            if self.has_signed():
                out.append(SendAgain(self.height))
            out += self.resend()
            self._resent += 1
            self._set_timer(TimerKind.RESEND, out)
        elif timer.round == self.state.round:
            self._run(now_ms, out, expired=timer.kind)
        return out

    def resend(self) -> list[Outcome]:
        """Return what goes again besides our stored messages (Agreement 2): the polka that we hold to, with
        those it rests on, others' votes of this round and those that ended the one before, and the wish for
        blocks that have a quorum and are not here.

        Others' votes make up for links that are missing: the paper assumes that what one honest validator
        has, all get, and of a round that fails no certificate tells.
        """
        out: list[Outcome] = []
        self._forwarded.clear()
        self._fetched.clear()
        if self.decided is None:
            if self._valid_polka is not None:
                self._forward(self._valid_polka, out)
            current = self.state.round
            places = [(current - 1, VoteKind.PRECOMMIT), *((current, kind) for kind in VoteKind)]
            tallies = [self._keeper.tally(*place) for place in places if place[0] >= 0]
            others = tuple(v for tally in tallies for v in tally.votes.values() if v.voter != self._me)
            if others:
                out.append(SendVotes(others))
            self._fetch_missing(ANY_LINK, out)
        return out

    def propose(self, round_: int, value: bytes) -> Guard | None:
        """Return the guard to cast a proposal under (its `signed` is for the host to fill), or None if it
        may not (or no longer) be signed.

        For a new block after BuildBlock as for the value of a Propose. A guard given is a place taken: a
        second proposal of the round gets None.
        """
        if not self._voting or round_ != self.state.round or self._place >= (round_, Step.PROPOSE):
            return None
        facts = Facts(proposer=self._proposes(round_), own_value=value)
        if line_18(self.state, facts) is None:
            return None
        self._place = (round_, Step.PROPOSE)
        return self._guard()

    def late_precommits(self, votes: list[CheckedVote]) -> CheckedCertificate | None:
        """Return a stronger certificate, if these add to the decided round's precommits (Agreement 7)."""
        wanted = {vote.voter: vote for vote in votes if self.wants_late_precommit(vote)}
        if not wanted or self.decided is None:
            return None
        before = [CheckedVote(vote) for vote in votes_of(self.decided.certificate)]
        stronger = certificate_of([*before, *wanted.values()])
        self.decided = msgspec.structs.replace(self.decided, certificate=stronger)
        return stronger

    # --- the rules at work
    # ---------------------------------------------------------------------------------------

    def _run(
        self, now_ms: int, out: list[Outcome], expired: TimerKind | None = None, link: Link = ANY_LINK
    ) -> None:
        """Let rules fire until all are silent. Each moves the state on, so this ends."""
        while self.decided is None:
            round_ = self.state.round
            fired = first_to_fire(STANDING, self.state, self._facts(expired))
            if fired is None:
                break
            self._perform(fired, now_ms, out)
            if self.state.round != round_:
                expired = None
        if self.decided is None:
            self._fetch_missing(link, out)

    def _facts(self, expired: TimerKind | None) -> Facts:
        state, keeper = self.state, self._keeper
        round_ = state.round
        held = self._proposals.get(round_)
        proposal = held[1] if held is not None else None
        polka_round = -1
        if proposal is not None and keeper.polka(proposal.valid_round, proposal.value) is not None:
            polka_round = proposal.valid_round
        return Facts(
            proposal=proposal,
            polka_round=polka_round,
            polka_any=keeper.quorum_of_any(round_, VoteKind.PREVOTE),
            polka_nil=keeper.nil_polka(round_),
            polka=next((c.value for c in keeper.polkas(round_) if self._valid.get(c.value)), None),
            precommit_any=keeper.quorum_of_any(round_, VoteKind.PRECOMMIT),
            commit=next(((c.round, c.value) for c in keeper.commits() if self._valid.get(c.value)), None),
            later_round=keeper.later_round(round_),
            expired=expired,
        )

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
            self._forward(self._valid_polka, out)
            block = self._blocks.get(self._valid_polka.value)
            if block is not None:
                out.append(PrepareBlock(block))

    def _act(self, action: Action, now_ms: int, out: list[Outcome]) -> None:
        if isinstance(action, Schedule):
            self._set_timer(action.kind, out)
        elif isinstance(action, Enter):
            self.awake = True
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
        return self._me is not None and self.validators.proposer(self.height, round_) == self._me

    def _ask_for_proposal(self, out: list[Outcome]) -> None:
        """Lines 15-18, once a round and only while a proposal may be signed."""
        state = self.state
        if not self._voting or self._place >= (state.round, Step.PROPOSE) or self._asked_round == state.round:
            return
        if state.valid_value is None:
            self._asked_round = state.round
            out.append(BuildBlock(state.round))
        elif state.valid_value in self._valid:
            assert self._valid_polka is not None, f"a valid value without its polka at height {self.height}"
            self._asked_round = state.round
            for below in self._keeper.polkas_below(self._valid_polka):
                self._forward(below, out)
            out.append(Propose(state.round, state.valid_value, state.valid_round, self._valid_polka))
        elif state.valid_value not in self._fetched:
            # Restored from the guard, which holds no block.
            self._fetched.add(state.valid_value)
            out.append(FetchBlock(self.height, state.valid_value, ANY_LINK))

    def _polka_seen(self, now_ms: int) -> None:
        value = self.state.valid_value
        assert value is not None
        self._valid_polka = self._keeper.polka(self.state.round, value)
        self._polka_ms = now_ms

    def _decide(self, commit: Commit, now_ms: int, out: list[Outcome]) -> None:
        if commit.round == self.state.round and self.state.step is not Step.PRECOMMIT:
            self._precommit_decided(commit, out)
        certificate = self._keeper.commit(commit.round, commit.value)
        self.decided = Decided(commit.round, commit.value, certificate)
        self._decided_ms = now_ms
        out.append(self.decided)

    def _precommit_decided(self, commit: Commit, out: list[Outcome]) -> None:
        """Agreement 7: our precommit still strengthens the block. It locks as line 36 does.

        Not where we precommitted another value before without this one's polka at hand: such a vote is
        diverged and adds nothing, and after a crash before the decision is durable we could be unable to
        name the polka that moved our lock, which looks like amnesia.
        """
        strayed = any(value != commit.value for value in self._precommitted)
        polka = self._keeper.polka(commit.round, commit.value)
        if strayed and polka is None:
            return
        changes: dict[str, object] = {"locked_round": commit.round, "locked_value": commit.value}
        if polka is not None:
            changes |= {"valid_round": commit.round, "valid_value": commit.value}
            self._valid_polka = polka
        self.state = msgspec.structs.replace(self.state, step=Step.PRECOMMIT, **changes)
        self._cast(VoteKind.PRECOMMIT, commit.value, out)

    # --- own votes
    # -----------------------------------------------------------------------------------------------

    def _cast(self, kind: VoteKind, value: bytes | None, out: list[Outcome]) -> None:
        if self._me is None:
            return
        round_ = self.state.round
        if not self._voting:
            self._withheld = [w for w in self._withheld if w[0] == round_]
            self._withheld.append((round_, kind, value))
            return
        place = (round_, STEP_OF[kind])
        if place <= self._place:
            return
        polka_round, diverged = -1, 0
        if value is not NIL and kind is VoteKind.PREVOTE:
            value, polka_round = self._named_polka(value, out)
        elif value is not NIL:
            strayed = any(other != value for other in self._precommitted)
            diverged = self.height if strayed else self._diverged
            if value not in self._precommitted:
                self._precommitted = (*self._precommitted, value)
        self._place = place
        vote = Vote(kind, self.height, round_, value, polka_round, diverged, self._me)
        out.append(CastVote(vote, self._guard()))
        self._set_timer(TimerKind.RESEND, out)

    def _named_polka(self, value: bytes, out: list[Outcome]) -> tuple[bytes | None, int]:
        """Return the value to prevote, with `polka_round` (Agreement 5), and send that polka ahead of the
        vote."""
        polka = self._keeper.latest_polka(value, self.state.round)
        polka_round = polka.round if polka is not None else -1
        # Only a restart that lost the polka of our lock (the guard keeps that of the valid value) comes
        # here: the vote could then be taken for amnesia about what we precommitted before the lock. Nil is
        # always honest.
        strayed = any(other != value for other in self._precommitted)
        if strayed and polka_round < self.state.locked_round:
            return NIL, -1
        if polka is not None:
            self._forward(polka, out)
        return value, polka_round

    def _forward(self, polka: CheckedCertificate, out: list[Outcome]) -> None:
        """Send a polka to all, after those that its votes name: without them nobody can count it. Each
        once."""
        if self._me is None:
            return
        for certificate in (*self._keeper.polkas_below(polka), polka):
            place = (certificate.round, certificate.value)
            if place not in self._forwarded:
                self._forwarded.add(place)
                out.append(SendCertificate(certificate))

    def _guard(self) -> Guard:
        state = self.state
        round_, step = self._place
        if round_ < 0:
            return Guard(height=self.height - 1, diverged=self._diverged)
        return Guard(
            height=self.height,
            round=round_,
            step=step,
            locked_round=state.locked_round,
            locked_value=state.locked_value,
            valid_round=state.valid_round,
            valid_value=state.valid_value,
            valid_polka=self._valid_polka,
            precommitted=self._precommitted,
            diverged=self._diverged,
        )

    # --- small steps
    # ---------------------------------------------------------------------------------------------

    def _set_timer(self, kind: TimerKind, out: list[Outcome]) -> None:
        timer = Timer(kind, self.height, 0 if kind is TimerKind.RESEND else self.state.round)
        if kind is TimerKind.RESEND:
            out.append(SetTimer(timer, self.timeouts.resend_ms(self._resent)))
        else:
            out.append(SetTimer(timer, self.timeouts.delay_ms(kind, self.state.round)))

    def _learn(self, value: bytes, valid: bool, block: Block | None, out: list[Outcome]) -> None:
        self._valid[value] = valid or self._valid.get(value, False)
        if block is not None:
            self._blocks[value] = block
        awaited = self.awake and self.state.step is Step.PROPOSE and value == self.state.valid_value
        if awaited and self._proposes(self.state.round):
            self._ask_for_proposal(out)

    def _fetch_missing(self, link: Link, out: list[Outcome]) -> None:
        for certificate in (*self._keeper.polkas(self.state.round), *self._keeper.commits()):
            value = certificate.value
            if value not in self._valid and value not in self._fetched:
                self._fetched.add(value)
                out.append(FetchBlock(self.height, value, link))

    def _keep_proposal(self, proposal: CheckedProposal) -> bool:
        """Of each proposer, the current round and the highest: so many of one that floods are kept."""
        round_, current = proposal.round, self.state.round
        if round_ <= current:
            return round_ == current
        for other, (held, _) in list(self._proposals.items()):
            if other > current and held.proposer == proposal.proposer:
                if other > round_:
                    return False
                del self._proposals[other]
        return True

    def _forget(self) -> None:
        """Hold memory to what rules can still ask, however many rounds pass."""
        current, state = self.state.round, self.state
        self._keeper.forget(current, (state.locked_round, state.valid_round))
        if any(round_ < current - 1 for round_ in self._proposals):
            self._proposals = {r: held for r, held in self._proposals.items() if r >= current - 1}
            self._arrived_ms = {r: at for r, at in self._arrived_ms.items() if r >= current - 1}
            named = {offered.value for _, offered in self._proposals.values()}
            named |= {c.value for c in (*self._keeper.polkas(), *self._keeper.commits())}
            self._blocks = {value: block for value, block in self._blocks.items() if value in named}
            self._valid = {value: valid for value, valid in self._valid.items() if value in named}
