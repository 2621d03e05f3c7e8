"""A proposer that splits the others, and a voter that gives each part a polka for its own block.

Splitters know each other: each prevotes toward a part the block that the proposer showed it. They precommit
nothing, so that rounds end with rival polkas at hand. More than a third of them makes two polkas in a round.
"""

from msgspec.structs import replace

from consensus.blocks import block_digest
from consensus.inputs import VoteReceived
from consensus.simulation.byzantine.equivocating_proposer import EquivocatingProposer
from consensus.votes import CheckedVote, VoteKind


class Splitter(EquivocatingProposer):
    def show_vote(self, vote: CheckedVote) -> None:
        if vote.kind is VoteKind.PRECOMMIT:
            return
        shown = [p for p in self.proposals.values() if (p.height, p.round) == (vote.height, vote.round)]
        for to in self.cluster.all:
            if to is self:
                continue
            cast = vote
            if shown and shown[0].valid_round < 0:
                time_ms = min(p.block.time_ms for p in shown) + (to.number % 2 == 0)
                block = replace(shown[0].block, time_ms=time_ms)
                swayed = replace(vote, value=block_digest(block), polka_round=-1)
                cast = self.cluster.signatures.sign_vote(swayed)
            self.cluster.send(self, to, VoteReceived(self.link, cast))
