"""A validator that hears and says nothing."""

from consensus.inputs import Input
from consensus.simulation.validator import Validator


class Silent(Validator):
    honest = False
    answers = False

    def broadcast(self, what: Input) -> None:
        """Nothing leaves."""
