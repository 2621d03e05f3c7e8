"""Messages of the next heights, kept until they are due: what arrives early is not lost, within bounds."""

from consensus.blocks import CheckedProposal, Proposal, block_digest
from consensus.inputs import Link
from consensus.votes import Vote

HEIGHTS_AHEAD = 2
LINK_VOTES_MAX = 512
"""One coming height of 256 validators x 2 kinds. Lost ones are sent again."""
LINKS_MAX = 256
"""A flood of links pushes out the newest, which are its own."""
PROPOSALS_MAX = 4
PROPOSER_PROPOSALS_MAX = 2
"""Two of one round convict their proposer; more would take the places of others."""


class EarlyMessages:
    """Votes by link, so that one link's flood takes no other's place; proposals are checked and few."""

    def __init__(self) -> None:
        self._votes: dict[Link, list[Vote]] = {}
        self._proposals: list[tuple[Link, CheckedProposal]] = []

    def keep_vote(self, link: Link, vote: Vote, height: int) -> None:
        """Keep a vote for one of the heights above `height`."""
        if vote.height > height + HEIGHTS_AHEAD:
            return
        held = self._votes.get(link)
        if held is None:
            if len(self._votes) >= LINKS_MAX:
                del self._votes[next(reversed(self._votes))]
            held = self._votes[link] = []
        if len(held) < LINK_VOTES_MAX:
            held.append(vote)

    def wants_proposal(self, proposal: Proposal) -> bool:
        """Whether a proposal of the next height would be kept: asked before its signature is checked."""
        held = [kept for _, kept in self._proposals]
        of_proposer = [kept for kept in held if kept.proposer == proposal.proposer]
        if any(_content(kept) == _content(proposal) for kept in of_proposer):
            return False
        rivals = of_proposer if len(of_proposer) >= PROPOSER_PROPOSALS_MAX else held
        full = rivals is of_proposer or len(held) >= PROPOSALS_MAX
        return not full or proposal.round < max(kept.round for kept in rivals)

    def keep_proposal(self, link: Link, proposal: CheckedProposal) -> None:
        """Keep one of the next height, once; of more than fit those of the lowest rounds, which come
        first."""
        if not self.wants_proposal(proposal):
            return
        self._proposals.append((link, proposal))
        of_proposer = [kept for kept in self._proposals if kept[1].proposer == proposal.proposer]
        if len(of_proposer) > PROPOSER_PROPOSALS_MAX:
            self._proposals.remove(max(of_proposer, key=_round))
        elif len(self._proposals) > PROPOSALS_MAX:
            self._proposals.remove(max(self._proposals, key=_round))

    def take(self) -> tuple[list[tuple[Link, CheckedProposal]], list[tuple[Link, Vote]]]:
        """Return all, in order of arrival on each link, and keep nothing."""
        proposals, self._proposals = self._proposals, []
        votes, self._votes = self._votes, {}
        return proposals, [(link, vote) for link, held in votes.items() for vote in held]


def _round(kept: tuple[Link, CheckedProposal]) -> int:
    return kept[1].round


def _content(proposal: Proposal) -> tuple[int, int, bytes]:
    """What is signed of it; its signature could be another one each time."""
    return proposal.round, proposal.valid_round, block_digest(proposal.block)
