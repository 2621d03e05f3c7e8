"""Messages of the next heights, kept until they are due: what arrives early is not lost, within bounds."""

from consensus.blocks import CheckedProposal
from consensus.inputs import Link
from consensus.votes import Vote

HEIGHTS_AHEAD = 2
LINK_VOTES_MAX = 512
"""One coming height of 256 validators x 2 kinds. Lost ones are sent again."""
LINKS_MAX = 256
PROPOSALS_MAX = 4


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
                return
            held = self._votes[link] = []
        if len(held) < LINK_VOTES_MAX:
            held.append(vote)

    def keep_proposal(self, link: Link, proposal: CheckedProposal) -> None:
        """Keep one of the next height; of more than fit those of the lowest rounds, which come first."""
        self._proposals.append((link, proposal))
        if len(self._proposals) > PROPOSALS_MAX:
            self._proposals.remove(max(self._proposals, key=lambda kept: kept[1].round))

    def take(self) -> tuple[list[tuple[Link, CheckedProposal]], list[tuple[Link, Vote]]]:
        """Return all, in order of arrival on each link, and keep nothing."""
        proposals, self._proposals = self._proposals, []
        votes, self._votes = self._votes, {}
        return proposals, [(link, vote) for link, held in votes.items() for vote in held]
