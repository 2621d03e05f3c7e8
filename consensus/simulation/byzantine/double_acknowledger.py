"""A validator that acknowledges two batches at each place: what it is shown, and the rival that a forking
author would show elsewhere."""

from msgspec.structs import replace

from consensus import effects as fx
from consensus.dissemination.batches import batch_digest
from consensus.inputs import AcknowledgementReceived
from consensus.simulation.validator import Validator


class DoubleAcknowledger(Validator):
    honest = False

    def cast_acknowledgement(self, effect: fx.CastAcknowledgement) -> None:
        super().cast_acknowledgement(effect)
        rival = batch_digest(replace(effect.batch, body=effect.batch.body[::-1]))
        other = self.cluster.signatures.sign_acknowledgement(replace(effect.acknowledgement, digest=rival))
        for to in self.cluster.by_key[other.author]:
            self.cluster.send(self, to, AcknowledgementReceived(self.link, other))
