"""Real Height objects over a network whose every delay, loss, crash and lie one random source schedules.

Time is virtual, in ms. Faulty validators have no Height: they echo whatever honest ones vote for, to whom
they like, vote at random besides, and propose several blocks at once. Signatures are left out; who could
have signed what is what matters here.
"""

import heapq
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec

from consensus.agreement.decided_height import DecidedHeight
from consensus.agreement.height import Height
from consensus.agreement.outcomes import BuildBlock, Outcome, Propose
from consensus.agreement.timeouts import Timeouts
from consensus.blocks import Block, CheckedProposal, Proposal, block_digest
from consensus.certificates import CheckedCertificate, certificate_of
from consensus.effects import (
    CastVote,
    FetchBlock,
    ReportEvidence,
    SendAgain,
    SendCertificate,
    SetTimer,
)
from consensus.evidence import guilty
from consensus.guard import Guard
from consensus.quorum import is_quorum
from consensus.timers import Timer
from consensus.validators import ValidatorSet
from consensus.votes import CheckedVote, Vote, VoteKind

ZERO = bytes(32)


def key(index: int) -> bytes:
    return bytes([index + 1]) * 32


class Node:
    """An honest validator: its Height, its disk (the guard), and the bytes it has sent."""

    def __init__(self, me: bytes, height: int, validators: ValidatorSet) -> None:
        self.me, self.validators = me, validators
        self.guard = Guard()
        self.sent: list[Any] = []
        self.timers: dict[Timer, int] = {}
        self.decision: DecidedHeight | None = None
        self.height = Height(height, validators, me, Timeouts(), self.guard, True)

    def restart(self) -> None:
        """Lose all but the disk."""
        height = self.height.height
        self.timers.clear()
        self.height = Height(height, self.validators, self.me, Timeouts(), self.guard, True)


class Network:
    """One height of some validators, or several in a row."""

    def __init__(
        self,
        random: Random,
        powers: Sequence[int],
        faulty: frozenset[int] = frozenset(),
        *,
        calm_at_ms: int = 0,
        crashes: float = 0.0,
        lies: float = 0.3,
    ) -> None:
        self.random = random
        self.validators = ValidatorSet((key(i), power) for i, power in enumerate(powers))
        self.faulty = [key(i) for i in sorted(faulty)]
        self.calm_at_ms, self.crashes, self.lies = calm_at_ms, crashes, lies
        self.now_ms, self._order = 0, 0
        self.height = 1
        self.nodes = {
            v.key: Node(v.key, 1, self.validators) for v in self.validators if v.key not in self.faulty
        }
        self.proposals: dict[bytes, CheckedProposal] = {}
        self.signed: dict[tuple[Any, ...], Any] = {}
        self.votes: list[Vote] = []
        self.polkas: list[CheckedCertificate] = []
        self.decisions: dict[int, set[bytes]] = {}
        self.highest_round = 0
        self._queue: list[tuple[int, int, Any]] = []
        self._lied: set[tuple[int, int]] = set()

    # --- running

    def run(self, until_ms: int) -> bool:
        """Run until all honest nodes have decided; return whether they had by then."""
        for node in self.nodes.values():
            self.perform(node, node.height.wake(self.now_ms))
        while self._queue and not self.all_decided():
            at, _, event = heapq.heappop(self._queue)
            if at > until_ms:
                return False
            self.now_ms = max(self.now_ms, at)
            self._happen(event)
            if self.faulty and self.random.random() < self.lies / 4:
                self._lie_at_random()
        return self.all_decided()

    def next_height(self) -> None:
        """Begin the next height everywhere, as a replica does."""
        self.height += 1
        self._queue.clear()
        self._lied.clear()
        self.highest_round = 0
        self.polkas.clear()
        for node in self.nodes.values():
            guard = node.height.closing_guard()
            timeouts = node.height.measured(self.now_ms)
            node.height = Height(self.height, self.validators, node.me, timeouts, guard, True)
            node.decision = None
            node.sent.clear()
            node.timers.clear()

    def all_decided(self) -> bool:
        return all(node.decision is not None for node in self.nodes.values())

    def decided_rounds(self) -> list[int]:
        return [node.decision.commit.round for node in self.nodes.values() if node.decision is not None]

    def _happen(self, event: Any) -> None:
        to, message = event
        node = self.nodes[to]
        if isinstance(message, Timer):
            if node.timers.get(message) == self.now_ms:
                self.perform(node, node.height.timer_expired(message, self.now_ms))
        else:
            self.perform(node, self.receive(node, message))

    def receive(self, node: Node, message: Any) -> list[Outcome]:
        if isinstance(message, Vote):
            if node.decision is not None and message.voter in self.nodes:
                # Who still votes lags; it is answered with the certificate (Agreement 2), as a replica does.
                self._send(message.voter, node.decision.commit)
            return node.height.receive_votes([CheckedVote(message)], self.now_ms)
        if isinstance(message, Proposal):
            out: list[Outcome] = []
            if message.polka is not None:
                out += node.height.receive_certificate(CheckedCertificate(message.polka), self.now_ms)
            value = block_digest(message.block)
            timely = abs(self.now_ms - message.block.time_ms) < 60_000
            return out + node.height.receive_proposal(
                CheckedProposal(message), value, True, timely, self.now_ms
            )
        return node.height.receive_certificate(message, self.now_ms)

    def perform(self, node: Node, outcomes: list[Outcome]) -> None:
        """Do what a host does, in order; at any boundary the node may crash."""
        height, cast = node.height, list[CheckedVote]()
        for outcome in outcomes:
            if self.random.random() < self.crashes:
                self._crash(node)
                return
            if isinstance(outcome, CastVote):
                vote = msgspec.structs.replace(outcome.vote, signature=b"s")
                node.guard = outcome.guard
                if self.random.random() < self.crashes:
                    self._crash(node)
                    return
                self._record(vote)
                self.send_all(node, vote)
                self._echo(vote)
                cast.append(CheckedVote(vote))
            elif isinstance(outcome, SetTimer):
                at = node.timers[outcome.timer] = self.now_ms + outcome.delay_ms
                self._push(at, (node.me, outcome.timer))
            elif isinstance(outcome, SendCertificate):
                if outcome.certificate.kind is VoteKind.PREVOTE:
                    self.polkas.append(outcome.certificate)
                self.send_all(node, outcome.certificate)
            elif isinstance(outcome, SendAgain):
                for message in list(node.sent[-6:]):
                    self.send_all(node, message, again=True)
            elif isinstance(outcome, BuildBlock):
                self._propose(node, outcome.round, self._block(node.me), -1, None)
            elif isinstance(outcome, Propose):
                block = self.proposals[outcome.value].block
                self._propose(node, outcome.round, block, outcome.valid_round, outcome.polka)
            elif isinstance(outcome, FetchBlock):
                if outcome.value in self.proposals:
                    self._send(node.me, self.proposals[outcome.value])
            elif isinstance(outcome, ReportEvidence):
                assert guilty(outcome.evidence) in self.faulty, (
                    f"an honest one is accused: {outcome.evidence}"
                )
        if node.decision is None and height.decided is not None:
            node.decision = height.decided
            self.decisions.setdefault(self.height, set()).add(height.decided.commit.value)
            self.send_all(node, height.decided.commit)
        for vote in cast:
            if node.height is height:
                self.perform(node, height.vote_cast(vote, self.now_ms))

    def _crash(self, node: Node) -> None:
        if node.decision is not None:
            return
        node.restart()
        self.perform(node, node.height.wake(self.now_ms))

    def _block(self, proposer: bytes) -> Block:
        unique = self.random.getrandbits(128).to_bytes(32, "big")
        return Block(self.height, ZERO, self.now_ms, proposer, (), (), unique, ZERO)

    def _propose(
        self, node: Node, round_: int, block: Block, valid_round: int, polka: CheckedCertificate | None
    ) -> None:
        value = block_digest(block)
        guard = node.height.propose(round_, value)
        if guard is None:
            return
        node.guard = guard
        if self.random.random() < self.crashes:
            self._crash(node)
            return
        proposal = CheckedProposal(Proposal(round_, valid_round, node.me, block, polka, b"s"))
        place = (node.me, self.height, round_)
        assert self.signed.setdefault(place, value) == value, f"two proposals at {place}"
        self.proposals[value] = proposal
        self.send_all(node, proposal)
        self.perform(node, node.height.receive_proposal(proposal, value, True, True, self.now_ms))

    def _record(self, vote: Vote) -> None:
        place = (vote.voter, vote.height, vote.round, vote.kind)
        assert self.signed.setdefault(place, vote) == vote, f"two votes at {place}"
        self.votes.append(vote)
        self.highest_round = max(self.highest_round, vote.round)

    # --- the network

    def send_all(self, node: Node, message: Any, again: bool = False) -> None:
        if not again:
            node.sent.append(message)
        for other in self.nodes:
            if other != node.me:
                self._send(other, message)

    def _send(self, to: bytes, message: Any) -> None:
        """Before the calm anything may be lost, or come late, or twice; after it all comes within 50 ms."""
        if self.now_ms >= self.calm_at_ms:
            self._push(self.now_ms + self.random.randint(1, 50), (to, message))
            return
        for _ in range(self.random.choice((0, 1, 1, 1, 2))):
            self._push(self.now_ms + self.random.choice((1, 20, 400, 3_000)), (to, message))

    def _push(self, at: int, event: Any) -> None:
        self._order += 1
        heapq.heappush(self._queue, (at, self._order, event))

    # --- the faulty

    def _some(self) -> list[bytes]:
        return [me for me in self.nodes if self.random.random() < 0.5]

    def _echo(self, vote: Vote) -> None:
        """Vote like this honest one too, but tell only some: the strongest use of a vote."""
        for voter in self.faulty:
            if self.random.random() < self.lies:
                lie = msgspec.structs.replace(vote, voter=voter, diverged=0)
                for me in self._some():
                    self._send(me, lie)

    def _lie_at_random(self) -> None:
        voter = self.random.choice(self.faulty)
        round_ = self.random.randint(0, self.highest_round + 1)
        if self.validators.proposer(self.height, round_) == voter:
            self._propose_lies(voter, round_)
        value = self.random.choice([None, *self.proposals])
        kind = self.random.choice(list(VoteKind))
        mark = self.random.randint(-1, round_ - 1) if value is not None and kind is VoteKind.PREVOTE else -1
        for me in self._some():
            self._send(me, Vote(kind, self.height, round_, value, mark, 0, voter, b"s"))

    def _propose_lies(self, voter: bytes, round_: int) -> None:
        """Two blocks to two halves, or an old value with whichever polka there is for it."""
        if (self.height, round_) in self._lied:
            return
        self._lied.add((self.height, round_))
        polkas = [polka for polka in self.polkas if polka.round < round_ and polka.value in self.proposals]
        for _ in range(2):
            polka = self.random.choice(polkas) if polkas and self.random.random() < 0.5 else None
            block = self.proposals[polka.value].block if polka is not None else self._block(voter)
            valid_round = polka.round if polka is not None else -1
            proposal = CheckedProposal(Proposal(round_, valid_round, voter, block, polka, b"s"))
            self.proposals.setdefault(block_digest(block), proposal)
            for me in self._some():
                self._send(me, proposal)

    # --- what an all-seeing eye finds

    def commits(self) -> list[CheckedCertificate]:
        """Every commit certificate that the honest votes and all faulty power together could make."""
        places: dict[tuple[int, bytes], list[CheckedVote]] = {}
        for vote in self.votes:
            if vote.kind is VoteKind.PRECOMMIT and vote.value is not None and vote.height == self.height:
                places.setdefault((vote.round, vote.value), []).append(CheckedVote(vote))
        found = []
        for (round_, value), votes in places.items():
            lies = [
                CheckedVote(Vote(VoteKind.PRECOMMIT, self.height, round_, value, -1, 0, voter, b"s"))
                for voter in self.faulty
            ]
            every = [*votes, *lies]
            if is_quorum(sum(self.validators.power(v.voter) for v in every), self.validators.total):
                found.append(certificate_of(every))
        return found
