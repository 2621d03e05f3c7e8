"""An author that shows every second batch of its lane alone: nobody else ever has the parents."""

from consensus.dissemination.batches import CheckedBatch
from consensus.simulation.validator import Validator


class OrphanAuthor(Validator):
    honest = False
    answers = False

    def show_batch(self, batch: CheckedBatch) -> None:
        if batch.sequence % 2 == 0:
            super().show_batch(batch)
