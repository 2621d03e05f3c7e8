"""The last decided heights: late precommits, laggards, a second decision (Agreement 1, 2, 7; Evidence)."""

from consensus.agreement.height import Height
from consensus.certificates import Certificate, CheckedCertificate
from consensus.effects import CheckVotes, Effect, Halt, SendCertificate, SendCommitted, StrengthenCommit
from consensus.inputs import Link
from consensus.votes import CheckedVote, Vote, VoteKind

HEIGHTS = 4
"""Late precommits are gathered for so many decided heights (Agreement 7)."""
LINK_VOTES_MAX = 512
"""Of one height: 256 validators x 2 kinds."""
LINKS_MAX = 1_024
"""Links remembered; a number is new for each connection."""
ANSWER_EVERY_MS = 200
"""A link is told of a decided height so often at most, so that old votes are no lever."""


class _Decided:
    def __init__(self, height: Height) -> None:
        self.height = height
        self.seen: dict[Link, set[tuple[bytes, int, int]]] = {}
        """By link: an unchecked vote takes no slot of another link's."""

    def first(self, vote: Vote, link: Link) -> bool:
        """Whether this link brings this vote for the first time."""
        if link not in self.seen and len(self.seen) >= LINKS_MAX:
            return False
        seen = self.seen.setdefault(link, set())
        place = (vote.voter, vote.round, vote.kind)
        if place in seen or len(seen) >= LINK_VOTES_MAX:
            return False
        seen.add(place)
        return True


class RecentHeights:
    """What outlives a height."""

    def __init__(self) -> None:
        self._decided: dict[int, _Decided] = {}
        self._reached: dict[bytes, int] = {}
        """The greatest height at which each validator was seen to vote."""
        self._answered: dict[Link, int] = {}

    def add(self, height: Height) -> None:
        """Keep a height that was just decided, and forget the oldest."""
        self._decided[height.height] = _Decided(height)
        self._decided.pop(height.height - HEIGHTS, None)
        members = height.validators
        self._reached = {voter: at for voter, at in self._reached.items() if members.power(voter) > 0}

    def reached(self, vote: CheckedVote) -> None:
        """Who votes at a height has decided the one before."""
        self._reached[vote.voter] = max(vote.height, self._reached.get(vote.voter, 0))

    def late_vote(self, vote: Vote, link: Link, now_ms: int) -> list[Effect]:
        """Take an unchecked vote for a decided height: it may strengthen its commit, or its sender lags."""
        decided = self._decided.get(vote.height)
        if decided is not None and decided.first(vote, link):
            height = decided.height
            wanted = vote.kind is VoteKind.PRECOMMIT and height.wants_late_precommit(vote)
            return [CheckVotes((vote,))] if wanted or height.keeper.would_convict(vote) else []
        # It was sent again, or it is old: its sender lags (Agreement 2).
        if now_ms - self._answered.get(link, -ANSWER_EVERY_MS) < ANSWER_EVERY_MS:
            return []
        if len(self._answered) >= LINKS_MAX:
            self._answered.clear()
        self._answered[link] = now_ms
        return [SendCommitted(vote.height, link)]

    def strengthen(self, vote: CheckedVote) -> list[Effect]:
        """Add a checked late precommit to its height's certificate (Agreement 7), or convict its voter."""
        decided = self._decided.get(vote.height)
        if decided is None:
            return []
        effects = decided.height.convict(vote)
        stronger = decided.height.late_precommits([vote])
        return [*effects, StrengthenCommit(stronger)] if stronger is not None else effects

    def forward(self, height: int) -> list[Effect]:
        """Send a commit to all who have not shown by a vote above it that they have it (Agreement 1)."""
        decided = self._decided.get(height)
        if decided is None or decided.height.decided is None:
            return []
        ahead = tuple(voter for voter, reached in self._reached.items() if reached > height)
        return [SendCertificate(decided.height.decided.certificate, besides=ahead)]

    def polkas(self, height: int) -> list[CheckedCertificate]:
        """Return the polkas at hand of a decided height: of two commits there, they name who is guilty."""
        decided = self._decided.get(height)
        return decided.height.keeper.polkas() if decided is not None else []

    def is_second(self, certificate: Certificate) -> bool:
        """Whether a certificate, if it is signed, decides another block than was decided at its height."""
        recent = self._decided.get(certificate.height)
        decided = recent.height.decided if recent is not None else None
        return (
            decided is not None
            and certificate.kind is VoteKind.PRECOMMIT
            and decided.value != certificate.value
        )

    def second_decision(self, certificate: CheckedCertificate) -> list[Effect]:
        """Whoever meets a second decision stops and says so (PROTOCOL, Evidence)."""
        if not self.is_second(certificate):
            return []
        height = self._decided[certificate.height].height
        assert height.decided is not None, "only decided heights are kept"
        return [
            Halt(
                f"two blocks are certified at height {certificate.height}; a third of the power or more "
                "is faulty",
                (height.decided.certificate, certificate, *height.keeper.polkas()),
            )
        ]
