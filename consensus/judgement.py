"""Blocks proposed: whether one is timely, in its place and valid.

Pure functions of block and chain (PROTOCOL, Blocks 1-3), but for the certificates of tips, which may have to
be fetched before a prevote (dissemination/tips.py): until then a proposal waits here.
"""

from collections.abc import Callable

import msgspec

from consensus.blocks import CheckedProposal, Tip, proposal_header
from consensus.chain import Chain
from consensus.convictions import evidence_stands
from consensus.dissemination.lanes import Lanes
from consensus.dissemination.tips import TipsVerdict, judge_tips
from consensus.evidence import ProposalEquivocation, evidence_of_proposals
from consensus.inputs import Link
from consensus.rules import Rules
from consensus.validators import ValidatorSet


class Judged(msgspec.Struct):
    """A proposal of the current height on its way to a verdict."""

    link: Link
    proposal: CheckedProposal
    value: bytes
    timely: bool


class Verdict(msgspec.Struct, frozen=True):
    valid: bool | None
    """None where it waits: for an execution, or for the certificates of `missing`."""
    missing: tuple[Tip, ...] = ()


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
        and after is not None
        and block.next_validators == after.hash
        and evidence_stands(block, chain)
    )


class Judgement:
    """The blocks of one height on their way to a verdict."""

    def __init__(self, chain: Chain, lanes: Lanes) -> None:
        self._chain = chain
        self._lanes = lanes
        self._waiting: dict[int, Judged] = {}

    def waiting(self) -> list[Judged]:
        """Return the proposals whose verdict waits."""
        return list(self._waiting.values())

    def holds(self, value: bytes) -> bool:
        """Whether a block is here, though its proposal is not judged yet."""
        return any(judged.value == value for judged in self._waiting.values())

    def rival(self, judged: Judged) -> ProposalEquivocation | None:
        """Return what a proposal proves together with the one of its round that waits for its verdict."""
        first = self._waiting.get(judged.proposal.round)
        if first is None or first.value == judged.value:
            return None
        return evidence_of_proposals(proposal_header(first.proposal), proposal_header(judged.proposal))

    def judge(self, judged: Judged, validators: ValidatorSet, certified: bool) -> Verdict:
        """Blocks 2. `certified`: a quorum stands for the value, and so for the certificates of its tips."""
        proposal, block = judged.proposal, judged.proposal.block
        root = self._chain.root_for(block.height)
        # Until height - 2 is executed the next set is as unknown as the root: wait, call nothing invalid.
        valid = root is None or is_well_placed(proposal, self._chain, validators)
        if valid:
            verdict, missing = judge_tips(self._lanes, block.tips)
            lacks = verdict is TipsVerdict.UNCERTIFIED and not certified
            if root is None or lacks:
                self._waiting[proposal.round] = judged
                return Verdict(None, missing if lacks else ())
            valid = verdict is not TipsVerdict.INVALID and root == block.state_root
        self._waiting.pop(proposal.round, None)
        return Verdict(valid)

    def forget(self, current: int, has_quorum: Callable[[bytes], bool]) -> None:
        """Of blocks that wait without a quorum keep those of the current round and the one before, and of
        each proposer that of its highest round: one that proposes in every round to come fills no memory."""
        highest: dict[bytes, int] = {}
        for round_, judged in self._waiting.items():
            proposer = judged.proposal.proposer
            highest[proposer] = max(round_, highest.get(proposer, 0))
        self._waiting = {
            round_: judged
            for round_, judged in self._waiting.items()
            if current - 1 <= round_ <= current
            or (round_ > current and round_ == highest[judged.proposal.proposer])
            or has_quorum(judged.value)
        }
