"""Whether a proposal is timely and in its place: pure functions of block and chain (PROTOCOL, Blocks 1-3).

Tips have their own judgement (dissemination/tips.py), since their certificates may have to be fetched first.
"""

import msgspec

from consensus.blocks import EMPTY_EVIDENCE, CheckedProposal
from consensus.chain import Chain
from consensus.inputs import Link
from consensus.rules import Rules
from consensus.validators import ValidatorSet


class Judged(msgspec.Struct):
    """A proposal of the current height on its way to a verdict."""

    link: Link
    proposal: CheckedProposal
    value: bytes
    timely: bool


def is_timely(proposal: CheckedProposal, rules: Rules, now_ms: int) -> bool:
    """Blocks 3: within precision and delay of the clock at its arrival; the delay widens with the round."""
    age_ms = now_ms - proposal.block.time_ms
    return -rules.precision_ms <= age_ms <= rules.precision_ms + rules.delay_ms * (proposal.round + 1)


def is_well_placed(proposal: CheckedProposal, chain: Chain, validators: ValidatorSet) -> bool:
    """Blocks 1, but for tips and state root: parent, time above it, proposer, evidence, the next set."""
    block = proposal.block
    after = chain.validators(block.height + 1)
    return (
        block.parent == chain.digest
        and block.time_ms > chain.time_ms
        and (proposal.valid_round >= 0 or block.proposer == proposal.proposer)
        and validators.power(block.proposer) > 0
        and block.evidence == EMPTY_EVIDENCE
        and after is not None
        and block.next_validators == after.hash
    )
