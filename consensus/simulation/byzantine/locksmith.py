"""Conspirators that keep a height open: they help values to polkas, and none of them to a decision.

Above a third nothing is decided without them, so that the honest lock, and meet their locks again, round
after round.
"""

from msgspec.structs import replace

from consensus.simulation.byzantine.conspirator import Conspirator
from consensus.simulation.validator import Validator
from consensus.votes import CheckedVote, VoteKind


class Locksmith(Conspirator):
    def show_vote(self, vote: CheckedVote) -> None:
        about = ("decide", vote.height, vote.round, self.number)
        if vote.kind is VoteKind.PREVOTE or self.cluster.chance.happens(about, 0.1):
            super().show_vote(vote)
            return
        nil = replace(vote, value=None, diverged=0, signature=b"")
        Validator.show_vote(self, self.cluster.signatures.sign_vote(nil))
