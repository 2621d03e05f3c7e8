"""An author whose lane runs away: as many batches at once as a window has, and some more."""

from consensus.dissemination.acknowledgements import Acknowledgement
from consensus.dissemination.batches import BatchHeader, CheckedBatch, batch_digest
from consensus.inputs import BatchReceived
from consensus.simulation.validator import Validator

BEYOND = 3
EVERY = 8
"""Sequences between two such floods."""


class RunawayAuthor(Validator):
    honest = False

    def show_batch(self, batch: CheckedBatch) -> None:
        super().show_batch(batch)
        if batch.sequence % EVERY != 1:
            return
        signatures, last = self.cluster.signatures, batch
        for ahead in range(1, self.cluster.rules.window + BEYOND):
            body = bytes(30) + ahead.to_bytes(2, "big")
            header = BatchHeader(self.key, batch.sequence + ahead, batch_digest(last), body)
            last = signatures.sign_batch(header)
            digest = batch_digest(last)
            own = signatures.sign_acknowledgement(
                Acknowledgement(self.key, header.sequence, digest, self.key)
            )
            self.batches[digest], self.acknowledged[digest] = last, own
            self.broadcast(BatchReceived(self.link, last))
