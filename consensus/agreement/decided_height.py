"""A height that is decided: precommits that come late strengthen its certificate, clashing votes convict
(PROTOCOL, Agreement 7; Evidence)."""

from collections.abc import Iterable

from consensus.agreement.votekeeper import VoteKeeper
from consensus.certificates import CheckedCertificate, certificate_of, votes_of
from consensus.effects import Effect, ReportEvidence
from consensus.votes import CheckedVote, Vote, VoteKind


class DecidedHeight:
    """What is kept of a height after line 51: its counts and its commit.

    Args:
        commit: the heaviest certificate at hand of the decision.
    """

    def __init__(self, keeper: VoteKeeper, commit: CheckedCertificate) -> None:
        self.keeper = keeper
        self.commit = commit
        """`strengthen` makes it heavier; never of another round or value."""

    def is_strengthened_by(self, vote: Vote) -> bool:
        """Whether this is a precommit for what was decided, by a member that the commit lacks: asked before
        its signature is checked."""
        commit = self.commit
        return (
            (vote.kind, vote.round, vote.value) == (VoteKind.PRECOMMIT, commit.round, commit.value)
            and self.keeper.validators.power(vote.voter) > 0
            and all(member.voter != vote.voter for member in commit.votes)
        )

    def strengthen(self, votes: Iterable[CheckedVote]) -> CheckedCertificate | None:
        """Take late precommits in; return the commit if it is stronger for them."""
        late = {vote.voter: vote for vote in votes if self.is_strengthened_by(vote)}
        if not late:
            return None
        before = (CheckedVote(vote) for vote in votes_of(self.commit))
        self.commit = certificate_of([*before, *late.values()])
        return self.commit

    def convict(self, vote: CheckedVote) -> list[Effect]:
        """Take a vote that clashes with one that was counted."""
        found = self.keeper.add(vote) if self.keeper.would_convict(vote) else None
        return [ReportEvidence(found)] if found is not None else []
