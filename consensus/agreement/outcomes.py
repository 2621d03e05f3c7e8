"""What a height asks of replica.py, besides the effects that it passes on to the host."""

from collections.abc import Iterable

import msgspec

from consensus.certificates import CheckedCertificate, certificate_of, votes_of
from consensus.effects import Effect
from consensus.votes import CheckedVote, Vote, VoteKind


class BuildBlock(msgspec.Struct, frozen=True):
    """Line 18, getValue(): build a block for this round, then ask `Height.propose` for leave."""

    round: int


class Propose(msgspec.Struct, frozen=True):
    """Lines 16 and 19: propose our valid value again, with its polka; ask `Height.propose` for leave."""

    round: int
    value: bytes
    valid_round: int
    polka: CheckedCertificate


class Decided(msgspec.Struct, frozen=True):
    """Line 51. The certificate is the heaviest at hand; `late_precommits` may strengthen it."""

    round: int
    value: bytes
    certificate: CheckedCertificate

    def is_strengthened_by(self, vote: Vote) -> bool:
        """Whether this is a precommit for what was decided, by a voter that its certificate lacks."""
        place = (vote.kind, vote.round, vote.value)
        voters = {member.voter for member in self.certificate.votes}
        return place == (VoteKind.PRECOMMIT, self.round, self.value) and vote.voter not in voters

    def with_precommits(self, votes: Iterable[CheckedVote]) -> "Decided":
        """Return the decision with a certificate that holds these too (Agreement 7)."""
        before = [CheckedVote(vote) for vote in votes_of(self.certificate)]
        return Decided(self.round, self.value, certificate_of([*before, *votes]))


Outcome = Effect | BuildBlock | Propose | Decided
