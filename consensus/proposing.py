"""The blocks of this validator: agreement asks for one, and it is made once chain, clock and pace allow."""

from consensus.blocks import Block, Proposal
from consensus.chain import Chain
from consensus.convictions import EvidencePool
from consensus.dissemination.lanes import Lanes
from consensus.dissemination.tips import next_tips
from consensus.effects import SetTimer
from consensus.pacing import Pacing
from consensus.timers import Timer, TimerKind
from consensus.validators import ValidatorSet


class Proposing:
    """Args:
    me: our key; None proposes nothing.
    """

    def __init__(
        self, me: bytes | None, chain: Chain, lanes: Lanes, evidence: EvidencePool, pacing: Pacing
    ) -> None:
        self._me = me
        self._chain = chain
        self._lanes = lanes
        self._evidence = evidence
        self._pacing = pacing
        self._round: int | None = None

    def ask(self, round_: int) -> None:
        """Line 18: this round waits for a block of ours."""
        self._round = round_

    def next(self, current: int, validators: ValidatorSet, now_ms: int) -> Proposal | SetTimer | None:
        """Return what the current round waits for, or the timer to ask again at; None while neither is due.

        A block names the root after height - 2 and the set of height + 1: it waits for their execution.
        """
        if self._round is None or self._me is None:
            return None
        if self._round != current:
            self._round = None
            return None
        height = self._chain.height + 1
        root, after = self._chain.root_for(height), self._chain.validators(height + 1)
        if root is None or after is None:
            return None
        wait_ms = self._pacing.wait_ms(current, self._chain, validators, now_ms)
        if wait_ms > 0:
            return SetTimer(Timer(TimerKind.CLOCK, height, current), wait_ms)
        self._round = None
        block = Block(
            height=height,
            parent=self._chain.digest,
            time_ms=now_ms,
            proposer=self._me,
            tips=next_tips(self._lanes),
            evidence=self._evidence.for_block(),
            state_root=root,
            next_validators=after.hash,
        )
        return Proposal(current, -1, self._me, block)
