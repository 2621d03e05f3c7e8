"""A validator that shows certificates again when they are old, and proposes on the oldest polka."""

from collections import deque

from msgspec.structs import replace

from consensus.blocks import CheckedProposal, block_digest
from consensus.certificates import CheckedCertificate
from consensus.inputs import CertificateReceived, Input, TipCertificateReceived
from consensus.simulation.validator import Validator
from consensus.votes import CheckedVote, VoteKind

KEPT = 64


class StaleCertificates(Validator):
    honest = False

    def __init__(self, *made_of: object) -> None:
        self._kept: deque[Input] = deque(maxlen=KEPT)
        super().__init__(*made_of)  # type: ignore[arg-type]

    def receive(self, what: Input) -> None:
        if isinstance(what, CertificateReceived | TipCertificateReceived):
            self._kept.append(replace(what, link=self.link))
        super().receive(what)

    def show_vote(self, vote: CheckedVote) -> None:
        super().show_vote(vote)
        if self._kept and vote.kind is VoteKind.PREVOTE:
            self.broadcast(self._kept[vote.height % len(self._kept)])

    def show_proposal(self, proposal: CheckedProposal) -> None:
        """Line 16, with the earliest polka at hand instead of the latest."""
        polkas = [kept.certificate for kept in self._kept if isinstance(kept, CertificateReceived)]
        old = next((polka for polka in polkas if self._fits(polka, proposal)), None)
        if old is not None:
            block = self.proposals[old.value].block
            stale = replace(proposal, valid_round=old.round, block=block, polka=old, signature=b"")
            proposal = self.cluster.signatures.sign_proposal(stale)
        super().show_proposal(proposal)

    def _fits(self, polka: CheckedCertificate, proposal: CheckedProposal) -> bool:
        here = polka.kind is VoteKind.PREVOTE and polka.height == proposal.height
        return (
            here
            and polka.round < proposal.round
            and polka.value in self.proposals
            and polka.value != block_digest(proposal.block)
        )
