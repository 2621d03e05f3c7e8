"""A proposer that shows one half another block than the other."""

from msgspec.structs import replace

from consensus.blocks import CheckedProposal
from consensus.inputs import ProposalReceived
from consensus.simulation.validator import Validator


class EquivocatingProposer(Validator):
    honest = False

    def show_proposal(self, proposal: CheckedProposal) -> None:
        rival = proposal
        if proposal.valid_round < 0:
            block = replace(proposal.block, time_ms=proposal.block.time_ms + 1)
            rival = self.cluster.signatures.sign_proposal(replace(proposal, block=block))
        for to in self.cluster.all:
            if to is not self:
                shown = proposal if to.number % 2 else rival
                self.cluster.send(self, to, ProposalReceived(self.link, shown))
