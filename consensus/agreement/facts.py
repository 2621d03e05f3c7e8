"""What the rules of rounds.py are asked with: counts and judgements as they stand in one round."""

from consensus.agreement.proposals import Proposals
from consensus.agreement.rounds import Facts
from consensus.agreement.votekeeper import VoteKeeper
from consensus.timers import TimerKind
from consensus.votes import VoteKind


def standing_facts(
    round_: int, keeper: VoteKeeper, proposals: Proposals, expired: TimerKind | None = None
) -> Facts:
    """Return the facts of the current round; `expired` is its timer that has just run out.

    A quorum for a value that was not judged, or found invalid, is no fact for lines 36 and 49.
    """
    offered = proposals.offered(round_)
    polka_round = -1
    if offered is not None and keeper.polka(offered.valid_round, offered.value) is not None:
        polka_round = offered.valid_round
    is_valid = proposals.is_valid
    return Facts(
        proposal=offered,
        polka_round=polka_round,
        polka_any=keeper.quorum_of_any(round_, VoteKind.PREVOTE),
        polka_nil=keeper.nil_polka(round_),
        polka=next((c.value for c in keeper.polkas(round_) if is_valid(c.value)), None),
        precommit_any=keeper.quorum_of_any(round_, VoteKind.PRECOMMIT),
        commit=next(((c.round, c.value) for c in keeper.commits() if is_valid(c.value)), None),
        later_round=keeper.later_round(round_),
        expired=expired,
    )
