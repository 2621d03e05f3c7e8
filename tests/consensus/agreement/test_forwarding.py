"""What is sent again while a height lasts."""

from consensus.agreement.forwarding import Forwarding
from consensus.agreement.proposals import Proposals
from consensus.agreement.votekeeper import VoteKeeper
from consensus.effects import SendVotes
from consensus.validators import ValidatorSet
from consensus.votes import NIL, CheckedVote, Vote, VoteKind

KEYS = [bytes((65 + i,)) * 32 for i in range(4)]


def test_who_went_on_to_the_next_round_sends_its_precommit_of_the_last_one_again() -> None:
    """Seed 1534 of the mixed scenario: with the faulty silent, a round ends only with the precommits of all
    the honest. One went on, its precommit was lost on the way, and nobody else ever ended that round."""
    validators = ValidatorSet((key, 1) for key in KEYS)
    keeper = VoteKeeper(validators)
    for key in KEYS[:3]:
        keeper.add(CheckedVote(Vote(VoteKind.PRECOMMIT, 1, 0, NIL, -1, 0, key)))
    forwarding = Forwarding(1, KEYS[0], keeper, Proposals())
    (handed_on,) = [e for e in forwarding.again(1, None) if isinstance(e, SendVotes)]
    assert [vote.voter for vote in handed_on.votes] == KEYS[:3]
