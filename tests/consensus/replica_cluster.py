"""A cluster of replicas in one thread under virtual time and one seed: the network, the disk and the clock
are doubles, everything else is real. Signatures are not made here: what a test hands in is what a check would
pass.
"""

import heapq
import random
from collections import Counter
from typing import Any

import msgspec

from consensus.agreement.own_votes import diverged_after
from consensus.blocks import Block, block_digest
from consensus.chain import ChainStart
from consensus.dissemination.acknowledgements import CheckedAcknowledgement
from consensus.dissemination.batches import CheckedBatch, batch_digest
from consensus.effects import (
    CastAcknowledgement,
    CastBatch,
    CastProposal,
    CastVote,
    CatchUp,
    CheckVotes,
    Decide,
    FetchBatch,
    FetchBlock,
    FetchTipCertificate,
    Halt,
    SendAgain,
    SendBatchAgain,
    SendCertificate,
    SendCommitted,
    SendTipCertificate,
    SendVotes,
    SetTimer,
)
from consensus.guard import Guard
from consensus.inputs import (
    AcknowledgementReceived,
    BatchCast,
    BatchReceived,
    BatchSealed,
    BlockExecuted,
    BlockReceived,
    CertificateReceived,
    Input,
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
from consensus.replica import Replica
from consensus.rules import Rules
from consensus.validators import ValidatorSet
from consensus.votes import CheckedVote

GENESIS = b"g" * 32
START_MS = 1_000_000


def root_after(height: int, block: Block | None) -> bytes:
    from hashlib import sha256

    return sha256(msgspec.msgpack.encode((height, block))).digest()


class Peer:
    """One validator's process: what is volatile goes with `replica`, what is durable stays."""

    def __init__(self, cluster: "Cluster", number: int, key: bytes) -> None:
        self.cluster = cluster
        self.number = number
        self.key = key
        self.guard = Guard()
        self.guard_messages: tuple[Any, ...] = ()
        self.blocks: list[tuple[Block, Any]] = []
        self.roots: dict[int, bytes] = {0: GENESIS}
        self.batches: dict[bytes, CheckedBatch] = {}
        self.acknowledged: dict[bytes, CheckedAcknowledgement] = {}
        self.signed: dict[tuple[int, int, int], Any] = {}
        self.up = False
        self.executing_ms = self.disk_ms = 0.0
        self.life = 0
        self.proposals: dict[bytes, Any] = {}
        self.seen: Counter[str] = Counter()

    def start(self) -> None:
        tips: dict[bytes, Any] = {}
        last_work = 0
        for block, _ in self.blocks:
            tips |= {tip.author: tip for tip in block.tips}
            last_work = block.height if block.tips else last_work
        height = len(self.blocks)
        last = self.blocks[-1][0] if self.blocks else None
        validators = self.cluster.validators
        start = ChainStart(
            height=height,
            digest=block_digest(last) if last else GENESIS,
            time_ms=last.time_ms if last else START_MS - 1,
            tips=tuple(tips.values()),
            roots=dict(self.roots),
            sets={height + i: validators for i in (1, 2, 3)},
            last_work=last_work,
        )
        guard = self.guard
        if 0 < guard.height <= height:
            decided = block_digest(self.blocks[guard.height - 1][0])
            guard = Guard(height=guard.height, diverged=diverged_after(guard, guard.height, decided))
        self.replica = Replica(self.key, self.cluster.rules, start, guard)
        for digest, batch in sorted(self.batches.items(), key=lambda item: item[1].sequence):
            self.replica.lanes.restore_batch(batch, self.acknowledged.get(digest))
        self.up = True
        self.life += 1
        self.feed(Started())
        self.feed(VotingAllowed())

    def crash(self) -> None:
        self.up = False

    def feed(self, happened: Input) -> None:
        if not self.up:
            return
        for effect in self.replica.step(happened, self.cluster.now_ms):
            self.seen[type(effect).__name__] += 1
            self.perform(effect)

    def later(self, delay_ms: float, happened: Input) -> None:
        life = self.life
        self.cluster.at(delay_ms, lambda: self.feed(happened) if self.life == life else None)

    def sign_once(self, place: tuple[int, int, int], thing: Any) -> None:
        before = self.signed.setdefault(place, thing)
        assert before == thing, f"{self.number} signed two things at {place}"

    def perform(self, effect: Any) -> None:
        cluster = self.cluster
        # Writes become durable in order, as in the journal.
        self.disk_ms = max(self.disk_ms, cluster.now_ms) + cluster.random.uniform(0.2, 2)
        disk_ms = self.disk_ms - cluster.now_ms
        if isinstance(effect, CastVote):
            vote = CheckedVote(effect.vote)
            life = self.life

            def durable() -> None:
                if self.life != life or not self.up:
                    return
                self.sign_once((vote.height, vote.round, 1 + vote.kind), vote)
                self.keep_guard(effect.guard, vote)
                cluster.broadcast(self, lambda link: VoteReceived(link, vote))
                self.feed(VoteCast(vote))

            cluster.at(disk_ms, durable)
        elif isinstance(effect, CastProposal):
            proposal: Any = effect.proposal
            life = self.life

            def proposed() -> None:
                if self.life != life or not self.up:
                    return
                self.sign_once((proposal.height, proposal.round, 1), proposal)
                self.proposals[block_digest(proposal.block)] = proposal
                self.keep_guard(effect.guard, proposal)
                cluster.broadcast(self, lambda link: ProposalReceived(link, proposal))
                self.feed(ProposalCast(proposal))

            cluster.at(disk_ms, proposed)
        elif isinstance(effect, CastBatch):
            batch = CheckedBatch(effect.header)
            from consensus.dissemination.acknowledgements import Acknowledgement

            own = CheckedAcknowledgement(
                Acknowledgement(batch.author, batch.sequence, batch_digest(batch), self.key)
            )
            life = self.life

            def spread() -> None:
                if self.life != life or not self.up:
                    return
                self.sign_once((-1, batch.sequence, 0), batch)
                self.batches[batch_digest(batch)] = batch
                self.acknowledged[batch_digest(batch)] = own
                cluster.broadcast(self, lambda link: BatchReceived(link, batch))
                self.feed(BatchCast(batch, own))

            cluster.at(disk_ms, spread)
        elif isinstance(effect, CastAcknowledgement):
            given = CheckedAcknowledgement(effect.acknowledgement)
            self.batches[given.digest] = CheckedBatch(effect.batch)
            self.acknowledged[given.digest] = given
            author = cluster.by_key[given.author]
            cluster.at(
                disk_ms, lambda: cluster.send(self, author, AcknowledgementReceived(self.number + 1, given))
            )
        elif isinstance(effect, SetTimer):
            self.later(effect.delay_ms, TimerExpired(effect.timer))
        elif isinstance(effect, CheckVotes):
            self.feed(VotesChecked(tuple(CheckedVote(vote) for vote in effect.votes)))
        elif isinstance(effect, SendCertificate):
            certificate = effect.certificate
            if effect.link:
                cluster.send(
                    self, cluster.peers[effect.link - 1], CertificateReceived(self.number + 1, certificate)
                )
            else:
                for peer in cluster.others(self):
                    if peer.key not in effect.besides:
                        self.seen["certificates sent"] += 1
                        cluster.send(self, peer, CertificateReceived(self.number + 1, certificate))
        elif isinstance(effect, SendTipCertificate):
            tip = effect.certificate
            cluster.broadcast(self, lambda link: TipCertificateReceived(link, tip))
        elif isinstance(effect, SendCommitted):
            if 0 < effect.height <= len(self.blocks) and effect.link:
                block, commit = self.blocks[effect.height - 1]
                cluster.send(
                    self, cluster.peers[effect.link - 1], BlockReceived(self.number + 1, block, commit)
                )
        elif isinstance(effect, SendAgain):
            for signed in list(self.guard_messages):
                cluster.broadcast(self, lambda link, signed=signed: received(link, signed))
        elif isinstance(effect, SendVotes):
            for counted in effect.votes:
                cluster.broadcast(self, lambda link, counted=counted: VoteReceived(link, counted))
        elif isinstance(effect, SendBatchAgain):
            again = self.batches[effect.digest]
            cluster.broadcast(self, lambda link: BatchReceived(link, again))
        elif isinstance(effect, FetchBatch):
            for peer in cluster.others(self):
                if effect.digest in peer.batches:
                    cluster.send(peer, self, BatchReceived(peer.number + 1, peer.batches[effect.digest]))
        elif isinstance(effect, FetchTipCertificate):
            for peer in cluster.others(self):
                lane = peer.replica.lanes.lane(effect.author)
                if lane and effect.sequence in lane.certificates:
                    cluster.send(
                        peer,
                        self,
                        TipCertificateReceived(peer.number + 1, lane.certificates[effect.sequence]),
                    )
        elif isinstance(effect, FetchBlock):
            for peer in cluster.others(self):
                if effect.height <= len(peer.blocks):
                    cluster.send(peer, self, BlockReceived(peer.number + 1, *peer.blocks[effect.height - 1]))
                elif effect.value in peer.proposals:
                    cluster.send(peer, self, ProposalReceived(peer.number + 1, peer.proposals[effect.value]))
        elif isinstance(effect, CatchUp):
            peer = cluster.peers[effect.link - 1]
            height = len(self.blocks) + 1
            if height <= len(peer.blocks):
                cluster.send(peer, self, BlockReceived(peer.number + 1, *peer.blocks[height - 1]))
        elif isinstance(effect, Decide):
            block = effect.block
            assert block.height == len(self.blocks) + 1
            cluster.decided(self, block)
            self.blocks.append((block, effect.certificate))
            self.roots[block.height] = root_after(block.height, block)
            happened = BlockExecuted(
                block.height,
                self.roots[block.height],
                len(block.tips) * cluster.transactions_a_batch,
                cluster.validators.pairs(),
            )
            self.executing_ms = max(self.executing_ms, cluster.now_ms) + cluster.random.uniform(0, 3)
            self.later(self.executing_ms - cluster.now_ms, happened)
        elif isinstance(effect, Halt):
            raise AssertionError(effect.reason)

    def keep_guard(self, guard: Guard, message: Any) -> None:
        same = (guard.height, guard.round) == (self.guard.height, self.guard.round)
        self.guard_messages = (*(self.guard_messages if same else ()), message)
        self.guard = guard


def received(link: int, message: Any) -> Input:
    from consensus.votes import Vote

    return VoteReceived(link, message) if isinstance(message, Vote) else ProposalReceived(link, message)


class Cluster:
    """Validators on a lossy network. Peer i is link i + 1 to all others."""

    def __init__(self, validators: int = 4, seed: int = 0, loss: float = 0.0, **rules: int) -> None:
        self.random = random.Random(seed)
        keys = [bytes([65 + i]) * 32 for i in range(validators)]
        self.validators = ValidatorSet([(key, 1) for key in keys])
        self.rules = Rules(**rules)
        self.loss = loss
        self.transactions_a_batch = 1
        self.now_ms = START_MS
        self._queue: list[tuple[float, int, Any]] = []
        self._count = 0
        self.cuts: set[frozenset[int]] = set()
        self.chain: list[bytes] = []
        self.peers = [Peer(self, i, key) for i, key in enumerate(keys)]
        self.by_key = {peer.key: peer for peer in self.peers}

    def start(self) -> "Cluster":
        for peer in self.peers:
            peer.start()
        return self

    def others(self, of: Peer) -> list[Peer]:
        return [peer for peer in self.peers if peer is not of and peer.up]

    def at(self, delay_ms: float, action: Any) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now_ms + delay_ms, self._count, action))

    def send(self, source: Peer, to: Peer, happened: Input) -> None:
        if self.random.random() < self.loss or frozenset((source.number, to.number)) in self.cuts:
            return
        self.at(self.random.uniform(0.5, 20), lambda: to.feed(happened))

    def broadcast(self, source: Peer, make: Any) -> None:
        for peer in self.peers:
            if peer is not source:
                self.send(source, peer, make(source.number + 1))

    def cut(self, left: set[int], right: set[int]) -> None:
        self.cuts |= {frozenset((a, b)) for a in left for b in right}

    def heal(self) -> None:
        self.cuts.clear()

    def run(self, seconds: float) -> None:
        end = self.now_ms + seconds * 1000
        while self._queue and self._queue[0][0] <= end:
            at, _, action = heapq.heappop(self._queue)
            self.now_ms = max(self.now_ms, int(at))
            action()
        self.now_ms = int(end)

    def seal(self, number: int, body: int) -> None:
        peer = self.peers[number]
        if peer.up and peer.replica.lanes.room() > 0:
            peer.feed(BatchSealed(body.to_bytes(32, "big")))

    def decided(self, peer: Peer, block: Block) -> None:
        digest = block_digest(block)
        if len(self.chain) < block.height:
            self.chain.append(digest)
        assert self.chain[block.height - 1] == digest, f"two decisions at height {block.height}"

    def heights(self) -> list[int]:
        return [len(peer.blocks) for peer in self.peers]

    def ordered(self) -> int:
        """How many batches the furthest peer's blocks order."""
        peer = max(self.peers, key=lambda peer: len(peer.blocks))
        tips = {tip.author: tip.sequence for block, _ in peer.blocks for tip in block.tips}
        return sum(tips.values())
