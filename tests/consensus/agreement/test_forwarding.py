"""What is sent again while a height lasts."""

from consensus.agreement.forwarding import Forwarding
from consensus.agreement.height import Height
from consensus.agreement.proposals import Proposals
from consensus.agreement.timeouts import Timeouts
from consensus.agreement.votekeeper import VoteKeeper
from consensus.certificates import certificate_of
from consensus.effects import SendCertificate, SendVotes
from consensus.guard import Guard, Step
from consensus.timers import Timer, TimerKind
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


def test_a_restart_has_the_polkas_that_the_polka_of_its_lock_rests_on() -> None:
    """Seed 6348 of the mixed scenario: the faulty voted for the lock and hid the polkas that they named. When
    its holder came back without them nobody else could ever count its polka, nor it leave its lock."""
    value = b"A" * 32
    below, locked = (
        certificate_of([CheckedVote(Vote(VoteKind.PREVOTE, 1, round_, value, mark, 0, key)) for key in KEYS])
        for round_, mark in ((0, -1), (1, 0))
    )
    guard = Guard(1, 1, Step.PRECOMMIT, (), 1, value, 1, value, locked, rests_on=(below,))
    height = Height(1, ValidatorSet((key, 1) for key in KEYS), KEYS[0], Timeouts(), guard, True)
    height.wake(0)
    sent = height.timer_expired(Timer(TimerKind.RESEND, 1, 1), 2_000)
    assert [e.certificate.round for e in sent if isinstance(e, SendCertificate)] == [0, 1]
    assert height._own.guard(height.state, height.keeper.with_below(locked)) == guard
