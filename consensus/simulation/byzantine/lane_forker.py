"""An author that shows two batches at one sequence, one to each half, and builds on the first."""

from msgspec.structs import replace

from consensus.dissemination.acknowledgements import Acknowledgement
from consensus.dissemination.batches import CheckedBatch, batch_digest
from consensus.inputs import BatchReceived
from consensus.simulation.validator import Validator


class LaneForker(Validator):
    honest = False

    def show_batch(self, batch: CheckedBatch) -> None:
        signatures = self.cluster.signatures
        rival = signatures.sign_batch(replace(batch, body=batch.body[::-1], signature=b""))
        digest = batch_digest(rival)
        own = signatures.sign_acknowledgement(Acknowledgement(rival.author, rival.sequence, digest, self.key))
        self.batches[digest], self.acknowledged[digest] = rival, own
        for to in self.cluster.all:
            if to is not self:
                shown = batch if (to.number + batch.sequence) % 2 else rival
                self.cluster.send(self, to, BatchReceived(self.link, shown))
