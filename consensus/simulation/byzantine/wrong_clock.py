"""A validator whose clock is wrong, ever more: ahead for some heights, then behind (PROTOCOL, Blocks 3)."""

from consensus.inputs import Input
from consensus.simulation.validator import Validator

STEP_MS = 700


class WrongClock(Validator):
    honest = False

    def feed(self, what: Input) -> None:
        height = len(self.blocks)
        self.clock_off_ms = (STEP_MS if height // 4 % 2 else -STEP_MS) * (height % 16)
        super().feed(what)
