"""A validator that writes votes in everybody's name, for this round and those to come, before they can.

None of them is signed by whom it names: they may take no place that the true ones need (PROTOCOL, Agreement
4).
"""

from msgspec.structs import replace

from consensus.inputs import CertificateReceived, VoteReceived
from consensus.simulation.signatures import FORGED, forged
from consensus.simulation.validator import Validator
from consensus.votes import CheckedVote, VoteKind

ROUNDS = 3
NAMES = 2
"""In so many names at once."""
NOBODYS = b"\xff" * 32


class VoteFlooder(Validator):
    honest = False

    def show_vote(self, vote: CheckedVote) -> None:
        others = [member.key for member in self.cluster.validators if member.key != self.key]
        first = vote.height % len(others)
        others = [*others, *others][first : first + NAMES]
        for to in self.cluster.all:
            if to is self or (to.number + vote.height) % 2:
                continue
            for voter in others:
                if voter == to.key:
                    continue
                for kind in VoteKind:
                    round_ = vote.round + (to.number + voter[0]) % ROUNDS
                    claimed = replace(
                        vote,
                        kind=kind,
                        round=round_,
                        value=vote.value if kind is VoteKind.PREVOTE else NOBODYS,
                        polka_round=-1,
                        diverged=0,
                        voter=voter,
                        signature=FORGED,
                    )
                    self.cluster.send(self, to, VoteReceived(self.link, CheckedVote(claimed)))
        super().show_vote(vote)
        polka = self.guard.valid_polka
        if polka is not None:
            self.broadcast(CertificateReceived(self.link, forged(replace(polka, value=NOBODYS))))
