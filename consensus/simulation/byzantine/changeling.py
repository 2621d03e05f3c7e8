"""An author that shows a rival of every second batch to all, and builds on the one that it kept back.

Whoever asks is given the true parent. It is nobody's to vouch for: all acknowledged its rival.
"""

from msgspec.structs import replace

from consensus.dissemination.batches import CheckedBatch
from consensus.inputs import BatchReceived
from consensus.simulation.validator import Validator


class Changeling(Validator):
    honest = False

    def show_batch(self, batch: CheckedBatch) -> None:
        if batch.sequence % 2 == 0:
            super().show_batch(batch)
            return
        rival = replace(batch, body=batch.body[::-1], signature=b"")
        self.broadcast(BatchReceived(self.link, self.cluster.signatures.sign_batch(rival)))
