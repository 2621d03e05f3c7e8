"""A validator that speaks to one half alone, another half each height: votes, polkas and proposals."""

from consensus import effects as fx
from consensus.inputs import BatchReceived, Input
from consensus.simulation.validator import Validator


class SelectiveSender(Validator):
    honest = False
    answers = False

    def broadcast(self, what: Input) -> None:
        for to in self.cluster.all:
            if to is not self and (isinstance(what, BatchReceived) or self._favours(to)):
                self.cluster.send(self, to, what)

    def send_certificate(self, effect: fx.SendCertificate) -> None:
        """What it knows of quorums it keeps to itself."""

    def send_votes(self, effect: fx.SendVotes) -> None:
        """Nor does it hand on what others said."""

    def _favours(self, to: Validator) -> bool:
        """Two of four neighbours, turning with the height."""
        return (to.number + self.replica.height.height) % 4 < 2
