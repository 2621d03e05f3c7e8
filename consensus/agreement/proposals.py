"""The judged proposals of one height, and the values that are known from them: valid or not, with their
blocks.

A value is judged once for the height: whichever proposal or decided block brought it, a quorum for it in any
round finds it here (lines 36 and 49). Memory is bounded against proposers that flood (`take`, `forget`) and
against heights with many rounds (`forget`).
"""

from consensus.agreement.rounds import Offered
from consensus.agreement.votekeeper import VoteKeeper
from consensus.blocks import Block, CheckedProposal, Proposal, block_digest, proposal_header
from consensus.evidence import ProposalEquivocation, evidence_of_proposals
from consensus.votes import NIL, VoteKind


class Proposals:
    """What was proposed, by round, and what is known of each value."""

    def __init__(self) -> None:
        self._judged: dict[int, tuple[CheckedProposal, Offered]] = {}
        self._arrived_ms: dict[int, int] = {}
        self._valid: dict[bytes, bool] = {}
        self._blocks: dict[bytes, Block] = {}
        self._convicted: set[bytes] = set()
        self._displaced = False
        """Whether a proposal gave its place to another of its proposer since `forget`."""

    def take(
        self, proposal: CheckedProposal, offered: Offered, current: int, now_ms: int
    ) -> ProposalEquivocation | None:
        """Keep the first proposal of a round, which is what we vote on; a second is evidence, of each
        proposer once."""
        known = self._judged.get(proposal.round)
        if known is None:
            if self._has_room(proposal, current):
                self._judged[proposal.round] = (proposal, offered)
                self._arrived_ms[proposal.round] = now_ms
            return None
        if (known[1].value, known[1].valid_round) == (offered.value, offered.valid_round):
            return None
        found = evidence_of_proposals(proposal_header(known[0]), proposal_header(proposal))
        if found is None or proposal.proposer in self._convicted:
            return None
        self._convicted.add(proposal.proposer)
        return found

    def learn(self, value: bytes, valid: bool, block: Block) -> None:
        """Remember a judgement. What one proposal made valid (a commit stands for it) no other takes back."""
        self._valid[value] = valid or self._valid.get(value, False)
        self._blocks[value] = block

    def has(self, round_: int) -> bool:
        """Whether a proposal of this round is kept."""
        return round_ in self._judged

    def offered(self, round_: int) -> Offered | None:
        """Return the proposal of this round, as judged."""
        judged = self._judged.get(round_)
        return judged[1] if judged is not None else None

    def proposal(self, round_: int) -> CheckedProposal | None:
        """Return the proposal of this round, as its proposer signed it."""
        judged = self._judged.get(round_)
        return judged[0] if judged is not None else None

    def arrived_ms(self, round_: int) -> int | None:
        """Return when the proposal of this round came."""
        return self._arrived_ms.get(round_)

    def knows(self, value: bytes) -> bool:
        """Whether a value was judged, whatever the verdict."""
        return value in self._valid

    def is_rival(self, proposal: Proposal) -> bool:
        """Whether a proposal, if it is signed, convicts its proposer for the first time at this height."""
        known = self._judged.get(proposal.round)
        if known is None or proposal.proposer in self._convicted:
            return False
        offered = known[1]
        return (offered.value, offered.valid_round) != (block_digest(proposal.block), proposal.valid_round)

    def split(self, round_: int, keeper: VoteKeeper) -> CheckedProposal | None:
        """Return the proposal of a round in which others prevoted for another value."""
        known = self._judged.get(round_)
        if known is None:
            return None
        others = [value for value in keeper.tally(round_, VoteKind.PREVOTE).weights if value is not NIL]
        return known[0] if any(value != known[1].value for value in others) else None

    def is_valid(self, value: bytes) -> bool:
        """Whether a value was judged and found valid."""
        return self._valid.get(value, False)

    def block(self, value: bytes) -> Block | None:
        """Return the block of a value, if it was judged or decided."""
        return self._blocks.get(value)

    def _has_room(self, proposal: CheckedProposal, current: int) -> bool:
        """Of each proposer, the current round and the highest: so many of one that floods are kept."""
        round_ = proposal.round
        if round_ <= current:
            return round_ == current
        for other, (held, _) in list(self._judged.items()):
            if other > current and held.proposer == proposal.proposer:
                if other > round_:
                    return False
                del self._judged[other], self._arrived_ms[other]
                self._displaced = True
        return True

    def forget(self, current: int, keeper: VoteKeeper) -> None:
        """Drop proposals two and more rounds below, and values that neither a proposal nor a quorum names."""
        if not self._displaced and all(round_ >= current - 1 for round_ in self._judged):
            return
        self._displaced = False
        self._judged = {r: judged for r, judged in self._judged.items() if r >= current - 1}
        self._arrived_ms = {r: at for r, at in self._arrived_ms.items() if r >= current - 1}
        named = {offered.value for _, offered in self._judged.values()}
        named |= {certificate.value for certificate in (*keeper.polkas(), *keeper.commits())}
        self._blocks = {value: block for value, block in self._blocks.items() if value in named}
        self._valid = {value: valid for value, valid in self._valid.items() if value in named}
