"""The last decided heights: late precommits, laggards, a second decision (Agreement 1, 2, 7; Evidence)."""

from consensus.agreement.decided_height import DecidedHeight
from consensus.certificates import Certificate, CheckedCertificate
from consensus.effects import CheckVotes, Effect, Halt, SendCertificate, SendCommitted, StrengthenCommit
from consensus.inputs import Link
from consensus.votes import CheckedVote, Vote, VoteKind

HEIGHTS = 4
"""Late precommits are gathered for so many decided heights (Agreement 7)."""
LINK_VOTES_MAX = 512
"""Of one height: 256 validators x 2 kinds."""
LINKS_MAX = 512
"""Links remembered, more than a host has at once; a number is new for each connection, and the one longest
silent goes. Nothing is lost with it: what it brings again is taken for new."""
ANSWER_EVERY_MS = 200
"""A link is told of a decided height so often at most, so that old votes are no lever."""
FORWARD_COMMIT_MS = 220
"""No round waits for a commit: by then the votes for the next, paced block have shown who has it."""


class _Recent:
    def __init__(self, decided: DecidedHeight) -> None:
        self.decided = decided
        self.seen: dict[Link, set[tuple[bytes, int, int]]] = {}
        """By link: an unchecked vote takes no slot of another link's."""

    def first(self, vote: Vote, link: Link) -> bool:
        """Whether this link brings this vote for the first time."""
        seen = self.seen.pop(link, set())
        if len(self.seen) >= LINKS_MAX:
            del self.seen[next(iter(self.seen))]
        self.seen[link] = seen
        place = (vote.voter, vote.round, vote.kind)
        if place in seen or len(seen) >= LINK_VOTES_MAX:
            return False
        seen.add(place)
        return True


class RecentHeights:
    """What outlives a height."""

    def __init__(self) -> None:
        self._heights: dict[int, _Recent] = {}
        self._reached: dict[bytes, int] = {}
        """The greatest height at which each validator was seen to vote."""
        self._answered: dict[Link, int] = {}

    def add(self, decided: DecidedHeight) -> None:
        """Keep a height that was just decided, and forget the oldest."""
        height, members = decided.commit.height, decided.keeper.validators
        self._heights[height] = _Recent(decided)
        self._heights.pop(height - HEIGHTS, None)
        self._reached = {voter: at for voter, at in self._reached.items() if members.power(voter) > 0}

    def reached(self, vote: CheckedVote) -> None:
        """Who votes at a height has decided the one before."""
        self._reached[vote.voter] = max(vote.height, self._reached.get(vote.voter, 0))

    def late_vote(self, vote: Vote, link: Link, now_ms: int) -> list[Effect]:
        """Take an unchecked vote for a decided height: it may strengthen its commit, or its sender lags."""
        recent = self._heights.get(vote.height)
        if recent is not None and recent.first(vote, link):
            decided = recent.decided
            wanted = decided.is_strengthened_by(vote) or decided.keeper.would_convict(vote)
            return [CheckVotes((vote,))] if wanted else []
        # It was sent again, or it is old: its sender lags (Agreement 2).
        # A clock that was ahead and is set back would keep the link waiting until it is there again.
        if 0 <= now_ms - self._answered.get(link, -ANSWER_EVERY_MS) < ANSWER_EVERY_MS:
            return []
        if len(self._answered) >= LINKS_MAX:
            self._answered.clear()
        self._answered[link] = now_ms
        return [SendCommitted(vote.height, link)]

    def strengthen(self, vote: CheckedVote) -> list[Effect]:
        """Add a checked late precommit to its height's certificate (Agreement 7), or convict its voter."""
        recent = self._heights.get(vote.height)
        if recent is None:
            return []
        effects = recent.decided.convict(vote)
        stronger = recent.decided.strengthen([vote])
        return [*effects, StrengthenCommit(stronger)] if stronger is not None else effects

    def forward(self, height: int) -> list[Effect]:
        """Send a commit to all who have not shown by a vote above it that they have it (Agreement 1)."""
        recent = self._heights.get(height)
        if recent is None:
            return []
        ahead = tuple(voter for voter, reached in self._reached.items() if reached > height)
        return [SendCertificate(recent.decided.commit, besides=ahead)]

    def polkas(self, height: int) -> list[CheckedCertificate]:
        """Return the polkas at hand of a decided height: of two commits there, they name who is guilty."""
        recent = self._heights.get(height)
        return recent.decided.keeper.polkas() if recent is not None else []

    def is_second(self, certificate: Certificate) -> bool:
        """Whether a certificate, if it is signed, decides another block than was decided at its height."""
        recent = self._heights.get(certificate.height)
        return (
            recent is not None
            and certificate.kind is VoteKind.PRECOMMIT
            and certificate.value != recent.decided.commit.value
        )

    def second_decision(self, certificate: CheckedCertificate) -> list[Effect]:
        """Whoever meets a second decision stops and says so (PROTOCOL, Evidence)."""
        if not self.is_second(certificate):
            return []
        decided = self._heights[certificate.height].decided
        return [
            Halt(
                f"two blocks are certified at height {certificate.height}; a third of the power or more "
                "is faulty",
                (decided.commit, certificate, *decided.keeper.polkas()),
            )
        ]
