"""A validator that shows its batches, votes and certificates to a random part, and answers no question."""

from consensus.inputs import Input
from consensus.simulation.places import place_of
from consensus.simulation.validator import Validator


class Withholder(Validator):
    honest = False
    answers = False

    def broadcast(self, what: Input) -> None:
        happens = self.cluster.chance.happens
        for to in self.cluster.all:
            if to is not self and not happens(("withhold", self.number, to.number, *place_of(what)), 0.5):
                self.cluster.send(self, to, what)
