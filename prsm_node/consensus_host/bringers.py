"""Who brought each vote that nobody has checked yet: if it turns out to be forged, that link is at fault."""

from consensus.votes import Vote

# 256 validators x 2 kinds from 8 links.
VOTES_MAX = 4_096


class Bringers:
    """Bounded; where there are too many votes, the link that brought most of them has its oldest forgotten:
    a flood pushes out what came by itself."""

    def __init__(self) -> None:
        self._links: dict[Vote, int] = {}
        self._votes: dict[int, dict[Vote, None]] = {}
        """By link, in the order in which they came."""

    def note(self, vote: Vote, link: int) -> None:
        """A link brought a vote; the first one counts."""
        if vote in self._links:
            return
        self._links[vote] = link
        self._votes.setdefault(link, {})[vote] = None
        if len(self._links) > VOTES_MAX:
            most = max(self._votes.values(), key=len)
            self.take(next(iter(most)))

    def take(self, vote: Vote) -> int:
        """Return who brought a vote, 0 where that is not known, and forget it."""
        link = self._links.pop(vote, 0)
        votes = self._votes.get(link)
        if votes is not None:
            del votes[vote]
            if not votes:
                del self._votes[link]
        return link

    def forget(self, height: int) -> None:
        """Forget the votes of this height and below: no quorum needed them, and nobody will check them."""
        for vote in [vote for vote in self._links if vote.height <= height]:
            self.take(vote)
