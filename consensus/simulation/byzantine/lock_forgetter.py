"""A validator that forgets its lock as soon as it has precommitted: an amnesiac."""

from msgspec.structs import replace

from consensus.inputs import Input
from consensus.simulation.validator import Validator


class LockForgetter(Validator):
    honest = False

    def feed(self, what: Input) -> None:
        super().feed(what)
        height = self.replica.height
        if height.state.locked_round >= 0:
            height.state = replace(
                height.state, locked_round=-1, locked_value=None, valid_round=-1, valid_value=None
            )
