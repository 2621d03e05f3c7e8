"""A validator that shows its batches, votes and certificates to a random part, and answers no question."""

from consensus.inputs import Input
from consensus.simulation.validator import Validator


class Withholder(Validator):
    honest = False
    answers = False

    def broadcast(self, what: Input) -> None:
        for to in self.cluster.all:
            if to is not self and self.cluster.random.random() < 0.5:
                self.cluster.send(self, to, what)
