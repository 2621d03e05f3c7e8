"""What we propose (arXiv:1807.04938, lines 14-19): asked for once a round, and only while it may be
signed."""

from consensus.agreement.forwarding import Forwarding
from consensus.agreement.outcomes import BuildBlock, Outcome, Propose
from consensus.agreement.own_votes import OwnVotes
from consensus.agreement.proposals import Proposals
from consensus.agreement.rounds import RoundState
from consensus.certificates import CheckedCertificate


class OwnProposals:
    """Our proposals of one height."""

    def __init__(self, own: OwnVotes, proposals: Proposals, forwarding: Forwarding) -> None:
        self._own = own
        self._proposals = proposals
        self._forwarding = forwarding
        self._asked_round = -1

    def ask(self, state: RoundState, valid_polka: CheckedCertificate | None) -> list[Outcome]:
        """Lines 15-18: ask for our valid value's proposal, or for a new block. `valid_polka` is the valid
        value's."""
        if not self._own.may_propose(state.round) or self._asked_round == state.round:
            return []
        if state.valid_value is None:
            self._asked_round = state.round
            return [BuildBlock(state.round)]
        if not self._proposals.knows(state.valid_value):
            # Restored from the guard, which holds no block.
            return [*self._forwarding.block(state.valid_value)]
        assert valid_polka is not None, f"a valid value without its polka in round {state.round}"
        self._asked_round = state.round
        again = Propose(state.round, state.valid_value, state.valid_round, valid_polka)
        return [*self._forwarding.below(valid_polka), again]
