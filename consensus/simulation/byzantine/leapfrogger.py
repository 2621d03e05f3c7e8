"""A validator that shows its votes of a round to one other alone, the next one each round.

That one sees quorums, polkas and rounds ahead of all the rest.
"""

from consensus import effects as fx
from consensus.inputs import VoteReceived
from consensus.simulation.validator import Validator
from consensus.votes import CheckedVote


class Leapfrogger(Validator):
    honest = False
    answers = False

    def show_vote(self, vote: CheckedVote) -> None:
        others = [to for to in self.cluster.honest if to is not self]
        if others:
            to = others[(vote.height + vote.round) % len(others)]
            self.cluster.send(self, to, VoteReceived(self.link, vote))

    def send_certificate(self, effect: fx.SendCertificate) -> None:
        """What it knows of quorums it keeps to itself."""

    def send_votes(self, effect: fx.SendVotes) -> None:
        """Nor does it hand on what others said."""
