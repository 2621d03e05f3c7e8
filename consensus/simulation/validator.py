"""One validator's process: the replica is real, the host around it a double that keeps the same promises.

What is signed is durable before it leaves, in the journal's order. A crash takes the replica and what was not
synced; a restart gets what the disk kept. An actor signs only with its own key; what it writes in another's
name is found out (signatures.py, inbound.py).
"""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from consensus import effects as fx
from consensus import inputs as happened
from consensus.agreement.own_votes import diverged_after
from consensus.blocks import Block, CheckedProposal, block_digest
from consensus.certificates import CheckedCertificate
from consensus.chain import ChainStart
from consensus.dissemination.acknowledgements import Acknowledgement, CheckedAcknowledgement
from consensus.dissemination.batches import CheckedBatch, batch_digest
from consensus.evidence_window import EvidenceWindow
from consensus.guard import Guard, still_signed
from consensus.inputs import Input
from consensus.replica import Replica
from consensus.simulation.disk import Disk
from consensus.simulation.inbound import admits
from consensus.simulation.violation import Violation
from consensus.timers import Timer
from consensus.votes import CheckedVote, Vote

if TYPE_CHECKING:
    from consensus.simulation.cluster import Cluster

FETCH_AGAIN_MS = 500
LOOK_AROUND_MS = 1_000
"""How often sync compares its height with those that peers tell."""
BLOCKS_AT_ONCE = 16


class Crashed(Exception):
    """The process ended between two effects."""


class Validator:
    """Args:
    number: its place among the cluster's validators; to all others it is link `number + 1`.
    """

    honest = True
    answers = True
    """Whether it gives others what they fetch."""

    def __init__(self, cluster: "Cluster", number: int, key: bytes, name: str) -> None:
        self.cluster, self.number, self.key, self.name = cluster, number, key, name
        self.link = number + 1
        self.disk = Disk(number, cluster.chance, cluster.at)
        self.up = False
        self.life = 0
        self.clock_off_ms = 0
        self.crash_after: int | None = None
        """Effects until this process ends by itself."""
        self.seen: Counter[str] = Counter()
        # Durable:
        self.guard = Guard()
        self.guard_messages: tuple[CheckedVote | CheckedProposal, ...] = ()
        self.kept_blocks: list[tuple[Block, CheckedCertificate]] = []
        self.kept_proposals: list[CheckedProposal] = []
        self.batches: dict[bytes, CheckedBatch] = {}
        self.acknowledged: dict[bytes, CheckedAcknowledgement] = {}
        self._forget()

    def _forget(self) -> None:
        self.blocks = list(self.kept_blocks)
        self._timers: dict[Timer, int] = {}
        self._asking: dict[tuple[object, ...], None] = {}
        height = len(self.blocks) + 1
        self.kept_proposals = [kept for kept in self.kept_proposals if kept.height >= height]
        self._proposals = {block_digest(kept.block): kept for kept in self.kept_proposals}
        self._executing_ms = 0.0
        self._count = 0

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        self._forget()
        cluster = self.cluster
        tips = {tip.author: tip for block, _ in self.blocks for tip in block.tips}
        height = len(self.blocks)
        chain = [block for block, _ in self.blocks]
        last = chain[-1] if chain else None
        execution = cluster.execution
        start = ChainStart(
            height=height,
            digest=block_digest(last) if last else cluster.genesis,
            time_ms=last.time_ms if last else cluster.start_ms - 1,
            tips=tuple(tips.values()),
            roots={0: cluster.genesis} | {b.height: execution.after(b).root for b in chain[-2:]},
            sets=execution.sets(chain),
            last_work=max((block.height for block, _ in self.blocks if block.works), default=0),
            since=execution.since(chain),
            convicted=execution.convicted(chain),
        )
        window = EvidenceWindow()
        for block in chain:
            window = window.after(block.height, block.time_ms, start.window_ms)
        start = replace(start, window=window)
        guard = self.guard
        if 0 < guard.height <= height:
            decided = block_digest(self.blocks[guard.height - 1][0])
            guard = Guard(height=guard.height, diverged=diverged_after(guard, guard.height, decided))
        self.replica = Replica(self.key, cluster.rules, start, guard)
        for digest, batch in sorted(self.batches.items(), key=lambda item: (item[1].sequence, item[0])):
            self.replica.lanes.restore_batch(batch, self.acknowledged.get(digest))
        self.up = True
        self.life += 1
        cluster.record("start", self, f"height {height}")
        self.feed(happened.Started())
        for proposal in list(self.kept_proposals):
            self.feed(happened.ProposalReceived(0, proposal))
        self.feed(happened.VotingAllowed())
        self.later(LOOK_AROUND_MS, self._look_around)

    def crash(self) -> None:
        """End now; whatever was not synced may be lost."""
        self.up = False
        self.crash_after = None
        lost = self.disk.crash()
        self.cluster.record("crash", self, f"{lost} writes lost")

    def feed(self, what: Input) -> None:
        if not self.up:
            return
        try:
            for effect in self.replica.step(what, self.cluster.now_ms + self.clock_off_ms):
                if self.crash_after is not None:
                    self.crash_after -= 1
                    if self.crash_after < 0:
                        raise Crashed
                name = type(effect).__name__
                self.seen[name] += 1
                PERFORM[type(effect)](self, effect)
                if not self.up:
                    return  # an answer within the effect came to the crash
        except Crashed:
            if self.up:
                self.crash()
        except Violation:
            raise
        except Exception as error:
            if self.honest and self.cluster.invariants.bounded:
                raise Violation("an honest validator lives", f"{self.name}: {error!r}") from error
            self.crash()

    def refuses(self, block: Block) -> bool:
        """Whether it judged a block of its height, and found it invalid."""
        height = self.replica.height
        return height.height == block.height and height.refuses(block_digest(block))

    def later(self, delay_ms: float, act: Callable[[], None]) -> None:
        """Do this unless the process ends before."""
        life = self.life
        self.cluster.at(delay_ms, lambda: act() if self.life == life and self.up else None)

    def holds(self, digest: bytes) -> bool:
        return digest in self.batches

    def receive(self, what: Input) -> None:
        if self.up and admits(self, what):
            self.feed(what)

    # --- what is signed -----------------------------------------------------------------------------

    def broadcast(self, what: Input) -> None:
        for to in self.cluster.all:
            if to is not self:
                self.cluster.send(self, to, what)

    def _keep_guard(self, guard: Guard, message: CheckedVote | CheckedProposal) -> None:
        self.guard_messages = (*still_signed(self.guard, guard, self.guard_messages), message)
        self.guard = guard

    def cast_vote(self, effect: fx.CastVote) -> None:
        vote = self.cluster.signatures.sign_vote(effect.vote)
        self.cluster.on_vote(vote.height, vote.round)

        def durable() -> None:
            if self.honest:
                self.cluster.invariants.vote_signed(vote)
            self.show_vote(vote)
            self.feed(happened.VoteCast(vote))

        self.disk.write(lambda: self._keep_guard(effect.guard, vote), durable)

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

    def keep_proposal(self, proposal: CheckedProposal) -> None:
        """Queue it for the disk: a vote for it, written later, is durable no sooner. A polka is worth little
        when all who have its block end and forget it."""
        value = block_digest(proposal.block)
        if value in self._proposals:
            return
        self._proposals[value] = proposal
        self.disk.write(lambda: self.kept_proposals.append(proposal), lambda: None)

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

    # --- what is sent and sent again ------------------------------------------------------------------

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

    # --- what is fetched: asked again until it is there or not wanted any more ------------------------------

    def _fetch(
        self, key: tuple[object, ...], wanted: Callable[[], bool], find: Callable[["Validator"], Input | None]
    ) -> None:
        if key in self._asking:
            return
        self._asking[key] = None

        def ask() -> None:
            if not wanted():
                del self._asking[key]
                return
            for peer in self.cluster.all:
                if peer is not self and peer.up and peer.answers:
                    found = find(peer)
                    if found is not None:
                        self.cluster.send(peer, self, found)
            self.later(FETCH_AGAIN_MS, ask)

        ask()

    def fetch_batch(self, effect: fx.FetchBatch) -> None:
        lane = self.replica.lanes.lane(effect.author)
        above = lane.committed.sequence if lane is not None else 0

        def wanted() -> bool:
            now = self.replica.lanes.lane(effect.author)
            return now is not None and now.committed.sequence == above and effect.digest not in now.batches

        def find(peer: Validator) -> Input | None:
            batch = peer.batches.get(effect.digest)
            return happened.BatchReceived(peer.link, batch) if batch is not None else None

        self._fetch((effect.author, effect.digest), wanted, find)

    def fetch_tip_certificate(self, effect: fx.FetchTipCertificate) -> None:
        height = self.replica.height.height

        def wanted() -> bool:
            lane = self.replica.lanes.lane(effect.author)
            lacking = lane is not None and effect.sequence not in lane.certificates
            return lacking and self.replica.height.height == height

        def find(peer: Validator) -> Input | None:
            lane = peer.replica.lanes.lane(effect.author)
            found = lane.certificates.get(effect.sequence) if lane is not None else None
            return happened.TipCertificateReceived(peer.link, found) if found is not None else None

        self._fetch((effect.author, effect.sequence), wanted, find)

    def fetch_block(self, effect: fx.FetchBlock) -> None:
        def wanted() -> bool:
            return self.replica.height.height == effect.height and effect.value not in self._proposals

        def find(peer: Validator) -> Input | None:
            if effect.height <= len(peer.blocks):
                return happened.BlockReceived(peer.link, *peer.blocks[effect.height - 1])
            proposal = peer._proposals.get(effect.value)
            return happened.ProposalReceived(peer.link, proposal) if proposal is not None else None

        self._fetch((effect.height, effect.value), wanted, find)

    def _look_around(self) -> None:
        """Who does not vote gets no answer to its votes: a follower finds out by asking that it lags."""
        best = max(
            (p for p in self.cluster.all if p.up and p.answers), key=lambda p: len(p.blocks), default=self
        )
        if len(best.blocks) > len(self.blocks):
            self.catch_up(fx.CatchUp(len(best.blocks) + 1, best.link))
        self.later(LOOK_AROUND_MS, self._look_around)

    def catch_up(self, effect: fx.CatchUp) -> None:
        """Sync: blocks in order from one who has them, until level with `height`."""
        turn = 0

        def wanted() -> bool:
            return len(self.blocks) < effect.height - 1

        def ask() -> None:
            nonlocal turn
            if not wanted():
                self._asking.pop(("sync",), None)
                return
            ahead = [p for p in self.cluster.all if p is not self and p.up and p.answers]
            ahead = [p for p in ahead if len(p.blocks) > len(self.blocks)]
            if ahead:
                peer = ahead[(effect.link + turn) % len(ahead)]
                turn += 1
                for height in range(
                    len(self.blocks), min(len(peer.blocks), len(self.blocks) + BLOCKS_AT_ONCE)
                ):
                    found = happened.BlockReceived(peer.link, *peer.blocks[height])
                    self.cluster.deliver(peer, self, found, (height - len(self.blocks)) / 10)
            self.later(FETCH_AGAIN_MS / 5, ask)

        if ("sync",) not in self._asking:
            self._asking["sync",] = None
            ask()

    # --- the rest -----------------------------------------------------------------------------------

    def set_timer(self, effect: fx.SetTimer) -> None:
        self._count += 1
        mark = self._timers[effect.timer] = self._count

        def expired() -> None:
            if self._timers.get(effect.timer) == mark:
                del self._timers[effect.timer]
                self.feed(happened.TimerExpired(effect.timer))

        self.later(effect.delay_ms, expired)

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
        self._proposals = {v: p for v, p in self._proposals.items() if p.height > block.height}

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
    fx.FetchBatch: lambda v, e: v.fetch_batch(e),
    fx.FetchTipCertificate: lambda v, e: v.fetch_tip_certificate(e),
    fx.FetchBlock: lambda v, e: v.fetch_block(e),
    fx.CatchUp: lambda v, e: v.catch_up(e),
    fx.PrepareBlock: lambda v, e: v.prepare_block(e),
    fx.Decide: lambda v, e: v.decide(e),
    fx.StrengthenCommit: lambda v, e: v.strengthen_commit(e),
    fx.ReportEvidence: lambda v, e: v.report_evidence(e),
    fx.SendEvidence: lambda v, e: v.send_evidence(e),
    fx.Halt: lambda v, e: v.halt(e),
}
"""One dict look-up an effect, late bound, so that an actor overrides what it does otherwise."""
