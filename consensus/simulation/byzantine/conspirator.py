"""Validators that share their keys and all that they hear, and sign whatever any of them can use.

Of each round's rival values they vote for one toward one validator and for another toward the next; whatever
quorum honest votes and their own make together, they bundle; and they propose again any value that has had a
polka, not the latest. Above a third this undoes what can be undone (PROTOCOL, Strength).
"""

from collections import defaultdict
from itertools import product
from typing import TYPE_CHECKING

from msgspec.structs import replace

from consensus.blocks import CheckedProposal, block_digest
from consensus.certificates import CheckedCertificate, certificate_of, votes_of
from consensus.inputs import CertificateReceived, Input, ProposalReceived, VoteReceived
from consensus.quorum import is_quorum
from consensus.simulation.validator import Validator
from consensus.votes import CheckedVote, Vote, VoteKind

if TYPE_CHECKING:
    from consensus.simulation.cluster import Cluster

Place = tuple[VoteKind, int, int, bytes]
"""(kind, height, round, value)."""


class Conspirator(Validator):
    honest = False
    answers = False

    def __init__(self, cluster: "Cluster", number: int, key: bytes, name: str) -> None:
        self._heard: defaultdict[Place, dict[bytes, CheckedVote]] = defaultdict(dict)
        self._favoured: dict[tuple[int, int, int], bytes | None] = {}
        super().__init__(cluster, number, key, name)

    def receive(self, what: Input) -> None:
        if isinstance(what, VoteReceived) and self.cluster.signatures.vote(what.vote):
            self._hear(what.vote)
        elif isinstance(what, CertificateReceived):
            for vote in votes_of(what.certificate):
                if self.cluster.signatures.vote(vote):
                    self._hear(vote)
        super().receive(what)

    def _hear(self, vote: Vote) -> None:
        if vote.value is not None:
            place = (vote.kind, vote.height, vote.round, vote.value)
            self._heard[place].setdefault(vote.voter, CheckedVote(vote))

    def _ring(self) -> list["Conspirator"]:
        return [one for one in self.cluster.all if isinstance(one, Conspirator)]

    def quorum_for(self, place: Place) -> CheckedCertificate | None:
        """Bundle what honest votes and our own make of a value, if it is a quorum."""
        members = self.replica.height.validators
        kind, height, round_, value = place
        votes: dict[bytes, CheckedVote] = {}
        for one in self._ring():
            votes |= one._heard.get(place, {})
        for one in self._ring():
            if members.power(one.key) > 0:
                blank = Vote(kind, height, round_, value, -1, 0, one.key)
                votes[one.key] = self.cluster.signatures.sign_vote(blank)
        if not is_quorum(sum(members.power(voter) for voter in votes), members.total):
            return None
        return certificate_of(list(votes.values()))

    def show_proposal(self, proposal: CheckedProposal) -> None:
        """Line 16 with any polka that can be made, where there is one."""
        found = [
            polka
            for round_ in range(proposal.round)
            for value in self._proposed(proposal.height)
            if (polka := self.quorum_for((VoteKind.PREVOTE, proposal.height, round_, value))) is not None
        ]
        drawn = ("again", self.number, proposal.height, proposal.round)
        if not found or self.cluster.chance.happens(drawn, 0.3):
            self._show_two(proposal)
            return
        polka = found[self.cluster.chance.one_of((*drawn, "which"), len(found))]
        known = [one.proposals[polka.value] for one in self._ring() if polka.value in one.proposals]
        block = known[0].block
        old = replace(proposal, valid_round=polka.round, block=block, polka=polka, signature=b"")
        self.broadcast(ProposalReceived(self.link, self.cluster.signatures.sign_proposal(old)))

    def _show_two(self, proposal: CheckedProposal) -> None:
        if proposal.valid_round >= 0:
            super().show_proposal(proposal)
            return
        block = replace(proposal.block, time_ms=proposal.block.time_ms + 1)
        rival = self.cluster.signatures.sign_proposal(replace(proposal, block=block, signature=b""))
        for one in self._ring():
            for known in (proposal, rival):
                one.proposals[block_digest(known.block)] = known
        for to in self.cluster.all:
            if to is not self:
                shown = rival if to in self.cluster.honest[::2] else proposal
                self.cluster.send(self, to, ProposalReceived(self.link, shown))

    def show_vote(self, vote: CheckedVote) -> None:
        proposed = self._proposed(vote.height)
        for turn, to in enumerate(self.cluster.honest):
            if proposed:
                value = self._ring()[0].favoured(turn, vote.height, vote.round, proposed)
                blank = Vote(vote.kind, vote.height, vote.round, value, -1, 0, self.key)
                self.cluster.send(self, to, VoteReceived(self.link, self.cluster.signatures.sign_vote(blank)))
            # A commit of an earlier round that nobody saw is worth the most.
            first = vote.round if vote.kind is VoteKind.PREVOTE else 0
            for value, round_ in product(proposed, range(first, vote.round + 1)):
                quorum = self.quorum_for((vote.kind, vote.height, round_, value))
                about = ("show", self.number, to.number, vote.height, vote.round, int(vote.kind))
                if quorum is not None and self.cluster.chance.happens(about, 0.5):
                    self.cluster.send(self, to, CertificateReceived(self.link, quorum))

    def _proposed(self, height: int) -> list[bytes]:
        known = [p for one in self._ring() for p in one.proposals.values() if p.height == height]
        return sorted({block_digest(p.block) for p in known})

    def favoured(self, whom: int, height: int, round_: int, proposed: list[bytes]) -> bytes | None:
        """The value that all of us show this one in this round; None is nil."""
        place = (whom, height, round_)
        if place not in self._favoured and self.cluster.chance.happens(("nil", *place), 0.25):
            self._favoured[place] = None
        if place not in self._favoured:
            turn = self.cluster.chance.one_of(("favour", *place), len(proposed)) + whom
            self._favoured[place] = proposed[turn % len(proposed)]
        return self._favoured[place]
