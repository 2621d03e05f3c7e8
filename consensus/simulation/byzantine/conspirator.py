"""Validators that share their keys and all that they hear, and sign whatever any of them can use.

Of each round's rival values they vote for one toward one validator and for another toward the next; whatever
quorum honest votes and their own make together, they bundle; and they propose again any value that has had a
polka, not the latest. Above a third this undoes what can be undone (PROTOCOL, Strength).
"""

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec.structs import replace

from consensus.blocks import CheckedProposal, block_digest
from consensus.certificates import CheckedCertificate, certificate_of, votes_of
from consensus.inputs import CertificateReceived, Input, ProposalReceived, VoteReceived
from consensus.quorum import is_quorum
from consensus.simulation.byzantine.equivocating_proposer import EquivocatingProposer
from consensus.votes import CheckedVote, Vote, VoteKind

if TYPE_CHECKING:
    from consensus.simulation.cluster import Cluster

Place = tuple[VoteKind, int, int, bytes]
"""(kind, height, round, value)."""


class Conspirator(EquivocatingProposer):
    honest = False
    answers = False

    def __init__(self, cluster: "Cluster", number: int, key: bytes, name: str) -> None:
        self._heard: defaultdict[Place, dict[bytes, CheckedVote]] = defaultdict(dict)
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
        known = [p for one in self._ring() for p in one._proposals.values() if p.height == proposal.height]
        found = [
            polka
            for round_ in range(proposal.round)
            for value in dict.fromkeys(block_digest(p.block) for p in known)
            if (polka := self.quorum_for((VoteKind.PREVOTE, proposal.height, round_, value))) is not None
        ]
        drawn = ("again", self.number, proposal.height, proposal.round)
        if not found or self.cluster.chance.happens(drawn, 0.3):
            super().show_proposal(proposal)
            return
        polka = found[self.cluster.chance.one_of((*drawn, "which"), len(found))]
        block = next(p.block for p in known if block_digest(p.block) == polka.value)
        old = replace(proposal, valid_round=polka.round, block=block, polka=polka, signature=b"")
        self.broadcast(ProposalReceived(self.link, self.cluster.signatures.sign_proposal(old)))

    def show_vote(self, vote: CheckedVote) -> None:
        known = [p for one in self._ring() for p in one._proposals.values() if p.height == vote.height]
        proposed = sorted({block_digest(p.block) for p in known})
        for to in self.cluster.honest:
            about = ("conspire", self.number, to.number, vote.height, vote.round, int(vote.kind))
            if proposed:
                value = proposed[
                    (self.cluster.chance.one_of(about, len(proposed)) + to.number) % len(proposed)
                ]
                blank = Vote(vote.kind, vote.height, vote.round, value, -1, 0, self.key)
                self.cluster.send(self, to, VoteReceived(self.link, self.cluster.signatures.sign_vote(blank)))
            for value in proposed:
                quorum = self.quorum_for((vote.kind, vote.height, vote.round, value))
                if quorum is not None and self.cluster.chance.happens((*about, "show"), 0.5):
                    self.cluster.send(self, to, CertificateReceived(self.link, quorum))
