"""A validator of a simulated cluster: a process and what its effects do, as the daemon's host does them.

What is signed is durable before it leaves, in the journal's order. An actor signs only with its own key; what
it writes in another's name is found out (signatures.py, inbound.py).
"""

from collections.abc import Callable
from typing import Any

from consensus import effects as fx
from consensus import inputs as happened
from consensus.blocks import Block, CheckedProposal, block_digest
from consensus.certificates import CheckedCertificate
from consensus.dissemination.acknowledgements import Acknowledgement
from consensus.dissemination.batches import CheckedBatch, batch_digest
from consensus.guard import Guard, still_signed
from consensus.inputs import Input
from consensus.simulation.fetching import LOOK_AROUND_MS, Fetching
from consensus.simulation.inbound import admits
from consensus.simulation.process import Crashed, Process
from consensus.simulation.violation import Violation
from consensus.votes import NIL, CheckedVote, Vote


class Validator(Process):
    answers = True
    """Whether it gives others what they fetch."""

    def forget(self) -> None:
        super().forget()
        self.fetching = Fetching(self)
        self._executing_ms = 0.0

    def start(self) -> None:
        super().start()
        self.later(LOOK_AROUND_MS, self.fetching.look_around)

    def refuses(self, block: Block) -> bool:
        """Whether it judged a block of its height, and found it invalid."""
        height = self.replica.height
        return height.height == block.height and height.refuses(block_digest(block))

    def receive(self, what: Input) -> None:
        if self.up and admits(self, what):
            self.feed(what)

    def broadcast(self, what: Input) -> None:
        for to in self.cluster.all:
            if to is not self:
                self.cluster.send(self, to, what)

    def _keep_guard(self, guard: Guard, message: CheckedVote | CheckedProposal) -> None:
        self.guard_messages = (*still_signed(self.guard, guard, self.guard_messages), message)
        self.guard = guard

    def cast_vote(self, effect: fx.CastVote) -> None:
        self._keep_voted(effect.vote)
        vote = self.cluster.signatures.sign_vote(effect.vote)
        self.cluster.on_vote(vote.height, vote.round)

        def durable() -> None:
            if self.honest:
                self.cluster.invariants.vote_signed(vote)
            self.show_vote(vote)
            self.feed(happened.VoteCast(vote))

        self.disk.write(lambda: self._keep_guard(effect.guard, vote), durable)

    def _keep_voted(self, vote: Vote) -> None:
        """Keep what it votes for, as the daemon does: this round's proposal, or another one heard."""
        if vote.value is NIL:
            return
        height = self.replica.height
        voted = height.proposals.proposal(vote.round) if height.height == vote.height else None
        if voted is None or block_digest(voted.block) != vote.value:
            voted = self.proposals.get(vote.value)
        if voted is not None:
            self.keep_proposal(voted)

    def show_vote(self, vote: CheckedVote) -> None:
        self.broadcast(happened.VoteReceived(self.link, vote))

    def cast_proposal(self, effect: fx.CastProposal) -> None:
        proposal = self.cluster.signatures.sign_proposal(effect.proposal)

        def durable() -> None:
            if self.honest:
                self.cluster.invariants.proposal_signed(proposal)
            self.show_proposal(proposal)
            self.feed(happened.ProposalCast(proposal))

        # In this order: a proposal that a restart finds without its guard would be signed a second time.
        self.disk.write(lambda: self._keep_guard(effect.guard, proposal), durable)
        self.keep_proposal(proposal)

    def show_proposal(self, proposal: CheckedProposal) -> None:
        self.broadcast(happened.ProposalReceived(self.link, proposal))

    def cast_batch(self, effect: fx.CastBatch) -> None:
        signatures = self.cluster.signatures
        batch = signatures.sign_batch(effect.header)
        digest = batch_digest(batch)
        own = signatures.sign_acknowledgement(Acknowledgement(batch.author, batch.sequence, digest, self.key))

        def keep() -> None:
            self.batches[digest] = batch
            self.acknowledged[digest] = own

        def durable() -> None:
            if self.honest:
                self.cluster.invariants.batch_signed(batch)
            self.show_batch(batch)
            self.feed(happened.BatchCast(batch, own))

        self.disk.write(keep, durable)

    def show_batch(self, batch: CheckedBatch) -> None:
        self.broadcast(happened.BatchReceived(self.link, batch))

    def cast_acknowledgement(self, effect: fx.CastAcknowledgement) -> None:
        given = self.cluster.signatures.sign_acknowledgement(effect.acknowledgement)
        batch = CheckedBatch(effect.batch)

        def keep() -> None:
            self.batches[given.digest] = batch
            self.acknowledged[given.digest] = given

        def durable() -> None:
            if self.honest:
                self.cluster.invariants.acknowledged(given)
            for to in self.cluster.by_key[given.author]:
                self.cluster.send(self, to, happened.AcknowledgementReceived(self.link, given))

        self.disk.write(keep, durable)

    def send_certificate(self, effect: fx.SendCertificate) -> None:
        if self.honest:
            self._made(effect.certificate)
        for to in self.cluster.all:
            if to is not self and (effect.link in (None, to.link)) and to.key not in effect.besides:
                self.seen["certificates sent"] += 1
                self.cluster.send(self, to, happened.CertificateReceived(self.link, effect.certificate))

    def send_tip_certificate(self, effect: fx.SendTipCertificate) -> None:
        certificate = effect.certificate
        if self.honest:
            members = self.replica.height.validators
            self.cluster.invariants.tip_certified(self.name, certificate, members)
        self.broadcast(happened.TipCertificateReceived(self.link, certificate))

    def send_committed(self, effect: fx.SendCommitted) -> None:
        if 0 < effect.height <= len(self.blocks) and effect.link:
            block, commit = self.blocks[effect.height - 1]
            to = self.cluster.all[effect.link - 1]
            self.cluster.send(self, to, happened.BlockReceived(self.link, block, commit))

    def send_again(self, effect: fx.SendAgain) -> None:
        if self.guard.height != effect.height:
            return
        if self.guard.valid_polka is not None:
            polka = CheckedCertificate(self.guard.valid_polka)
            self.broadcast(happened.CertificateReceived(self.link, polka))
        for message in self.guard_messages:
            if isinstance(message, Vote):
                self.show_vote(message)
            else:
                self.show_proposal(message)

    def send_proposal(self, effect: fx.SendProposal) -> None:
        self.broadcast(happened.ProposalReceived(self.link, effect.proposal))

    def send_votes(self, effect: fx.SendVotes) -> None:
        for vote in effect.votes:
            self.broadcast(happened.VoteReceived(self.link, vote))

    def send_batch_again(self, effect: fx.SendBatchAgain) -> None:
        if effect.digest in self.batches:
            self.show_batch(self.batches[effect.digest])

    def check_votes(self, effect: fx.CheckVotes) -> None:
        holds = self.cluster.signatures.vote
        good = tuple(CheckedVote(vote) for vote in effect.votes if holds(vote))
        forged = (
            tuple(vote for vote in effect.votes if not holds(vote)) if len(good) < len(effect.votes) else ()
        )
        self.seen["forged"] += len(forged)
        self.feed(happened.VotesChecked(good, forged))

    def decide(self, effect: fx.Decide) -> None:
        block, certificate = effect.block, effect.certificate
        cluster = self.cluster
        if self.honest:
            self._made(certificate)
            members = self.replica.chain.validators(block.height)
            cluster.invariants.decided(self.name, block, members)
            if cluster.invariants.bounded:
                refusing = [v.name for v in cluster.honest if v.up and v.refuses(block)]
                cluster.invariants.judged_alike(self.name, block, refusing)
            elif members is not None:
                cluster.forks.decided(block_digest(block), block, certificate, members)
        cluster.record("decide", self, f"height {block.height}, round {certificate.round}")
        self.blocks.append((block, certificate))
        self.disk.write(lambda: self._keep_block(block, certificate), lambda: None)
        state = cluster.execution.after(block)
        work = len(block.tips) * cluster.transactions_a_batch
        executed = happened.BlockExecuted(block.height, state.root, work, state.members.pairs())
        start = max(self._executing_ms, cluster.elapsed_ms)
        takes_ms = cluster.chance.between(("execute", self.number, block.height), 0, 3)
        self._executing_ms = start + takes_ms * self.disk.slowed
        self.later(self._executing_ms - cluster.elapsed_ms, lambda: self.feed(executed))

    def _keep_block(self, block: Block, certificate: CheckedCertificate) -> None:
        """What its height needed is cut from the journal, as the daemon's is."""
        self.kept_blocks.append((block, certificate))
        self.kept_proposals = [kept for kept in self.kept_proposals if kept.height > block.height]
        self.proposals = {v: p for v, p in self.proposals.items() if p.height > block.height}

    def _made(self, certificate: CheckedCertificate) -> None:
        members = self.replica.chain.validators(certificate.height)
        if members is not None:
            self.cluster.invariants.certificate_made(self.name, certificate, members)

    def strengthen_commit(self, effect: fx.StrengthenCommit) -> None:
        if self.honest:
            self._made(effect.certificate)
            if not self.cluster.invariants.bounded:
                self.cluster.forks.known(effect.certificate)

    def report_evidence(self, effect: fx.ReportEvidence) -> None:
        self.cluster.record("evidence", self, type(effect.evidence).__name__)
        if self.honest:
            self.cluster.invariants.evidence_found(self.name, effect.evidence)
        self.broadcast(happened.EvidenceReceived(self.link, effect.evidence))

    def send_evidence(self, effect: fx.SendEvidence) -> None:
        for piece in effect.pieces:
            self.broadcast(happened.EvidenceReceived(self.link, piece))

    def prepare_block(self, effect: fx.PrepareBlock) -> None:
        """Bodies are not modelled."""

    def halt(self, effect: fx.Halt) -> None:
        if self.honest and self.cluster.invariants.bounded:
            raise Violation("agreement", f"{self.name} halts: {effect.reason}")
        raise Crashed


PERFORM: dict[type[fx.Effect], Callable[[Any, Any], None]] = {
    fx.CastVote: lambda v, e: v.cast_vote(e),
    fx.CastProposal: lambda v, e: v.cast_proposal(e),
    fx.CastBatch: lambda v, e: v.cast_batch(e),
    fx.CastAcknowledgement: lambda v, e: v.cast_acknowledgement(e),
    fx.SetTimer: lambda v, e: v.set_timer(e),
    fx.CheckVotes: lambda v, e: v.check_votes(e),
    fx.SendCertificate: lambda v, e: v.send_certificate(e),
    fx.SendTipCertificate: lambda v, e: v.send_tip_certificate(e),
    fx.SendCommitted: lambda v, e: v.send_committed(e),
    fx.SendAgain: lambda v, e: v.send_again(e),
    fx.SendProposal: lambda v, e: v.send_proposal(e),
    fx.SendVotes: lambda v, e: v.send_votes(e),
    fx.SendBatchAgain: lambda v, e: v.send_batch_again(e),
    fx.FetchBatch: lambda v, e: v.fetching.batch(e),
    fx.FetchTipCertificate: lambda v, e: v.fetching.tip_certificate(e),
    fx.FetchBlock: lambda v, e: v.fetching.block(e),
    fx.CatchUp: lambda v, e: v.fetching.catch_up(e),
    fx.PrepareBlock: lambda v, e: v.prepare_block(e),
    fx.Decide: lambda v, e: v.decide(e),
    fx.StrengthenCommit: lambda v, e: v.strengthen_commit(e),
    fx.ReportEvidence: lambda v, e: v.report_evidence(e),
    fx.SendEvidence: lambda v, e: v.send_evidence(e),
    fx.Halt: lambda v, e: v.halt(e),
}
"""One dict look-up an effect, late bound, so that an actor overrides what it does otherwise."""

Validator.perform = PERFORM
