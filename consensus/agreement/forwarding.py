"""What one height hands on to others and asks of them, in place of the paper's gossip (PROTOCOL, Agreement 1
and 2).

The paper assumes that what one honest validator has, all get. Over direct links that must be done, and only
as often as needed: a polka is sent on once and a block asked for once, until the resend timer begins anew.
"""

from consensus.agreement.proposals import Proposals
from consensus.agreement.votekeeper import VoteKeeper
from consensus.certificates import CheckedCertificate
from consensus.effects import Effect, FetchBlock, SendCertificate, SendProposal, SendVotes
from consensus.inputs import Link
from consensus.votes import VoteKind

ANY_LINK: Link = 0
"""In FetchBlock: no link is known to have it; ask whichever."""


class Forwarding:
    """What was sent on and asked for at one height.

    Args:
        me: our key, if it is in the set; None, a follower, sends no polkas on.
    """

    def __init__(self, height: int, me: bytes | None, keeper: VoteKeeper, proposals: Proposals) -> None:
        self._height = height
        self._me = me
        self._keeper = keeper
        self._proposals = proposals
        self._forwarded: set[tuple[int, bytes]] = set()
        self._fetched: set[bytes] = set()
        self._split: set[int] = set()

    def polka(self, polka: CheckedCertificate) -> list[Effect]:
        """Send a polka to all, after those that its votes name: without them nobody can count it."""
        if self._me is None:
            return []
        effects: list[Effect] = []
        for certificate in self._keeper.with_below(polka):
            place = (certificate.round, certificate.value)
            if place not in self._forwarded:
                self._forwarded.add(place)
                effects.append(SendCertificate(certificate))
        return effects

    def below(self, polka: CheckedCertificate) -> list[Effect]:
        """Send what a polka rests on; the polka itself goes within its proposal."""
        return [effect for below in self._keeper.polkas_below(polka) for effect in self.polka(below)]

    def block(self, value: bytes, link: Link = ANY_LINK) -> list[Effect]:
        """Ask for the block of a value."""
        if value in self._fetched:
            return []
        self._fetched.add(value)
        return [FetchBlock(self._height, value, link)]

    def split(self, round_: int) -> list[Effect]:
        """A round ends in which some prevoted for another value than its proposal here names: hand that on.

        Its proposer showed them another one, and whoever sees both has the proof.
        """
        proposal = self._proposals.split(round_, self._keeper)
        if self._me is None or proposal is None or round_ in self._split:
            return []
        self._split.add(round_)
        return [SendProposal(proposal)]

    def missing_blocks(self, round_: int, link: Link = ANY_LINK) -> list[Effect]:
        """Ask for the blocks that have a quorum, in this round or as commits, and are not here, or were found
        invalid: what was wrong may have been their proposal."""
        effects: list[Effect] = []
        for certificate in (*self._keeper.polkas(round_), *self._keeper.commits()):
            if not self._proposals.is_valid(certificate.value):
                effects += self.block(certificate.value, link)
        return effects

    def again(self, round_: int, valid_polka: CheckedCertificate | None) -> list[Effect]:
        """Return what goes again besides our stored messages (Agreement 2): the polka that we hold to, with
        those it rests on, others' votes of this round and all that ended the one before, and the wish for
        blocks that have a quorum and are not here.

        Others' votes make up for links that are missing: of a round that fails no certificate tells.
        """
        self._forwarded.clear()
        self._fetched.clear()
        effects = self.polka(valid_polka) if valid_polka is not None else []
        places = [(round_ - 1, VoteKind.PRECOMMIT), *((round_, kind) for kind in VoteKind)]
        tallies = [self._keeper.tally(*place) for place in places if place[0] >= 0]
        # Our own votes of this round are among the stored messages, our precommit of the one before is not:
        # whoever lacks just that one would wait there for ever.
        votes = (vote for tally in tallies for vote in tally.votes.values())
        handed_on = tuple(vote for vote in votes if vote.voter != self._me or vote.round < round_)
        if handed_on:
            effects.append(SendVotes(handed_on))
        return effects + self.missing_blocks(round_)
