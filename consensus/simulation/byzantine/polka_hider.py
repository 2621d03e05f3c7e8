"""Conspirators that hide a polka: they keep back the prevotes that make one, help a later value to a polka
and none to a decision, and then propose the hidden value again.

Wherever a quorum needs them, as while others are cut off, a height stays open, and the honest lock above a
polka that nobody has shown them.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from consensus import effects as fx
from consensus.blocks import CheckedProposal
from consensus.certificates import CheckedCertificate
from consensus.inputs import ProposalReceived
from consensus.simulation.byzantine.conspirator import Conspirator
from consensus.simulation.validator import Validator
from consensus.votes import NIL, CheckedVote, VoteKind


class PolkaHider(Conspirator):
    def show_vote(self, vote: CheckedVote) -> None:
        helps = vote.kind is VoteKind.PREVOTE and any(self._polkas(vote.height, vote.round))
        if not helps:
            vote = self.cluster.signatures.sign_vote(replace(vote, value=NIL, polka_round=-1, diverged=0))
        Validator.show_vote(self, vote)

    def show_proposal(self, proposal: CheckedProposal) -> None:
        polkas = list(self._polkas(proposal.height, proposal.round))
        hidden = next((polka for polka in polkas if polka.value != polkas[-1].value), None)
        if hidden is not None:
            block = next(
                one.proposals[hidden.value].block for one in self._ring() if hidden.value in one.proposals
            )
            old = replace(proposal, valid_round=hidden.round, block=block, polka=hidden, signature=b"")
            proposal = self.cluster.signatures.sign_proposal(old)
        self.broadcast(ProposalReceived(self.link, proposal))

    def send_certificate(self, effect: fx.SendCertificate) -> None:
        """What it knows of quorums it keeps to itself."""

    def send_votes(self, effect: fx.SendVotes) -> None:
        """Nor does it hand on what others said."""

    def _polkas(self, height: int, before: int) -> Iterator[CheckedCertificate]:
        """The polkas of rounds below one that others' prevotes and ours make, the hidden one first."""
        for round_ in range(before):
            for value in self._proposed(height):
                polka = self.quorum_for((VoteKind.PREVOTE, height, round_, value))
                if polka is not None:
                    yield polka
