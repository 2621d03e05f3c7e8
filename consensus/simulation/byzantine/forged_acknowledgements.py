"""A validator that acknowledges what it does not hold, beyond the window and in others' names, and makes tip
certificates of that."""

from msgspec.structs import replace

from consensus import effects as fx
from consensus.dissemination.acknowledgements import Acknowledgement, CheckedAcknowledgement
from consensus.dissemination.batches import CheckedBatch, batch_digest
from consensus.inputs import AcknowledgementReceived, BatchReceived, Input, TipCertificateReceived
from consensus.simulation.signatures import FORGED, tip_certificate_of
from consensus.simulation.validator import Validator


class ForgedAcknowledgements(Validator):
    honest = False
    answers = False

    def receive(self, what: Input) -> None:
        """Acknowledge unseen, and forget: the batch goes nowhere near the disk."""
        if isinstance(what, BatchReceived):
            self._acknowledge(what.batch)
            return
        super().receive(what)

    def cast_acknowledgement(self, effect: fx.CastAcknowledgement) -> None:
        """It holds nothing back to acknowledge."""

    def _acknowledge(self, batch: CheckedBatch) -> None:
        signatures, digest = self.cluster.signatures, batch_digest(batch)
        given = Acknowledgement(batch.author, batch.sequence, digest, self.key)
        mine = signatures.sign_acknowledgement(given)
        ahead = replace(given, sequence=batch.sequence + self.cluster.rules.window + 1)
        shown = [mine, signatures.sign_acknowledgement(ahead)]
        others = [member.key for member in self.cluster.validators if member.key != self.key]
        shown += [CheckedAcknowledgement(replace(given, voter=other, signature=FORGED)) for other in others]
        for to in self.cluster.by_key[batch.author]:
            for one in shown:
                self.cluster.send(self, to, AcknowledgementReceived(self.link, one))
        for votes in (
            tuple((key, FORGED) for key in others),
            tuple((self.key, mine.signature) for _ in self.cluster.validators),
            ((self.key, mine.signature),),
        ):
            self.broadcast(TipCertificateReceived(self.link, tip_certificate_of(batch, votes)))
