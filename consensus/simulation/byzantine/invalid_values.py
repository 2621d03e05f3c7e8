"""A proposer of blocks that are not valid, another fault each time (PROTOCOL, Blocks 1-3)."""

from msgspec.structs import replace

from consensus.blocks import Block, CheckedProposal, Tip
from consensus.simulation.validator import Validator

NOBODYS = b"\xff" * 32
"""A digest that nothing has, a key that nobody holds."""


class InvalidValues(Validator):
    honest = False

    def show_proposal(self, proposal: CheckedProposal) -> None:
        if proposal.valid_round < 0:
            block = self._spoiled(proposal.block, proposal.height + proposal.round)
            proposal = self.cluster.signatures.sign_proposal(replace(proposal, block=block))
        super().show_proposal(proposal)

    def _spoiled(self, block: Block, turn: int) -> Block:
        before = self.blocks[-1][0].time_ms if self.blocks else self.cluster.start_ms - 1
        committed = [lane.committed for lane in self.replica.lanes.all() if lane.committed.sequence > 0]
        author = block.proposer
        faults = (
            replace(block, state_root=NOBODYS),
            replace(block, parent=NOBODYS),
            replace(block, time_ms=before),
            replace(block, time_ms=block.time_ms + 60_000),
            replace(block, next_validators=NOBODYS),
            replace(block, proposer=NOBODYS),
            replace(block, tips=(Tip(author, 1 + self.cluster.rules.window, NOBODYS),)),
            replace(block, tips=(Tip(author, self.replica.lanes.own_head.sequence + 1, NOBODYS),)),
            replace(block, tips=tuple(committed[:1]) or (Tip(NOBODYS, 1, NOBODYS),)),
        )
        return faults[turn % len(faults)]
