"""A validator that votes for the value to one half and for nil to the other."""

from msgspec.structs import replace

from consensus.inputs import VoteReceived
from consensus.simulation.validator import Validator
from consensus.votes import CheckedVote


class DoubleVoter(Validator):
    honest = False

    def show_vote(self, vote: CheckedVote) -> None:
        nil = replace(vote, value=None, polka_round=-1, diverged=0)
        other = self.cluster.signatures.sign_vote(nil)
        for to in self.cluster.all:
            if to is not self:
                shown = vote if (to.number + vote.round) % 2 else other
                self.cluster.send(self, to, VoteReceived(self.link, shown))
