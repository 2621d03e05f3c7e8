"""What a validator keeps of what it signs, so that a restart signs nothing twice and forgets no lock.

The guard, the blocks that it votes for, its batches and acknowledgements, and a vote of each other validator.
All of it lies in the journal, and what is renewed by nothing else is brought forward with it.
"""

from collections.abc import Callable

import structlog
from msgspec.structs import replace

from consensus.guard import Guard, still_signed
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.proposal_store import ProposalStore
from prsm_node.consensus_host.records import RecordKind, encode_record
from prsm_node.consensus_host.recovery import Recovered
from prsm_node.consensus_host.seen_signers import SeenSigners
from prsm_node.storage.errors import StorageError
from prsm_node.storage.journal import Journal
from prsm_node.storage.journal_segments import first_position, segment_of
from prsm_node.wire.kinds import Kind

log = structlog.get_logger("consensus")

# Batches that nobody orders, of an author that ended, go from segment to segment: a thirtieth of what is
# written, so that the journal is no longer than thirty times what all lanes may hold.
CARRIED_BYTES = 2 << 20


class SigningJournal:
    """Args:
    recovered: what the last run left.
    me: our own key; None for who only follows.
    height: the last executed one.
    """

    def __init__(
        self,
        journal: Journal,
        batches: BatchStore,
        checks: Checks,
        recovered: Recovered,
        me: bytes | None,
        height: int,
    ) -> None:
        self.durable_guard = recovered.guard
        """The last one that the disk holds, with the messages that were signed under it: what may be sent
        again."""
        self._guard = recovered.guard
        self.proposals = ProposalStore(journal, recovered.kept)
        self._position = recovered.guard_position
        self._signers = SeenSigners(
            journal, checks, me, recovered.signers, recovered.signers_position, height
        )
        self._journal = journal
        self._batches = batches

    def keep_guard(self, guard: Guard, kind: Kind, message: bytes, then: Callable[[], None]) -> None:
        """Keep what is signed under a guard; `then` is called when it is durable, and may leave."""
        signed = (*still_signed(self._guard, guard, self._guard.signed), bytes((kind,)) + message)
        kept = self._guard = replace(guard, signed=signed)

        def durable() -> None:
            self.durable_guard = kept
            then()

        self._position = self._journal.append(RecordKind.GUARD, encode_record(kept), then=durable)

    def needed_from(self, height: int) -> int | None:
        """Return from which position a restart reads the guard, what others were seen to sign, and the
        proposals from `height`, the open one, on."""
        held = (self._position, self.proposals.oldest_position(height), self._signers.position)
        return min((position for position in held if position is not None), default=None)

    def carry_over(self) -> None:
        """Append again what a restart needs of the journal's older segments, so that they can go. Due when a
        segment begins: nothing that is signed or ordered may ever renew it.

        The copies count at once. A commit of the state makes them durable before a mark that rests on them,
        and nothing is cut but by a durable mark.
        """
        last = segment_of(self._journal.end)
        if self._position is not None and segment_of(self._position) < last:
            guard = encode_record(self._guard)
            self._position = self._journal.append(RecordKind.GUARD, guard, urgent=False)
        self._signers.carry_over()
        room = CARRIED_BYTES
        for stored in self._batches.before(limit := first_position(max(0, last - 1))):
            if stored.position is None or stored.position >= limit:
                continue  # what was appended before it began a segment, which brought it forward
            if (room := room - len(stored.body)) < 0:
                return
            try:
                record = self._journal.read(stored.position)
            except (StorageError, OSError) as error:
                log.warning("batch_not_carried_over", why=str(error))
                return
            stored.position = self._journal.append(RecordKind.BATCH, record, urgent=False)
