"""The simulation's cluster as directed tests use it: equal powers, faults by hand, time in seconds."""

from consensus.rules import Rules
from consensus.simulation import cluster
from consensus.simulation.chance import Chance
from consensus.simulation.scenario import Links


class Cluster(cluster.Cluster):
    def __init__(self, validators: int = 4, seed: int = 0, loss: float = 0.0, **rules: int) -> None:
        super().__init__(Chance(seed), [1] * validators, Links(loss=loss), Rules(**rules))
        self.peers = self.all

    def cut(self, left: set[int], right: set[int]) -> None:
        pairs = [(a, b) for a in sorted(left) for b in sorted(right)]
        self.network.cut([*pairs, *((b, a) for a, b in pairs)])

    def heal(self) -> None:
        self.network.heal()

    def run_for(self, seconds: float) -> None:
        self.run(seconds * 1_000)
