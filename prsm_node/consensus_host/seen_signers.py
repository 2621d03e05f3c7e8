"""A vote of each validator, kept on the disk: what this node can tell of a key outlives its own restart.

A validator whose disk was lost asks what its key signed (PROTOCOL, Twin). A decision tells of it only where
the key's vote was among the first, and none tells of the height that is open. After a restart of the whole
network nobody would know of a key that had begun to vote there, and it would sign a second time. So the first
vote seen of a key goes into the journal, and another once that one is old.
"""

import structlog

from consensus.votes import Vote
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.records import RecordKind, encode_signers
from prsm_node.storage.errors import StorageError
from prsm_node.storage.journal import Journal
from prsm_node.storage.journal_segments import segment_of

log = structlog.get_logger("twin")

AT_STAKE = 64
"""Heights. A key that is silent for longer has nothing at stake at the heights to come."""
RENEWED_AFTER = AT_STAKE // 2


class SeenSigners:
    """Takes what `checks` sees.

    Args:
        me: our own key, of which our guard knows better, so that it is not kept. What another key kept of it
            here, before it was moved into this home, counts: no guard of ours knows that. None for who only
            follows, whom nobody asks.
        kept, position: what the last run kept, and where the journal has it.
        height: the last executed one.
    """

    def __init__(
        self,
        journal: Journal,
        checks: Checks,
        me: bytes | None,
        kept: tuple[Vote, ...],
        position: int | None,
        height: int,
    ) -> None:
        self.position = position
        """Of the record that counts."""
        self._journal = journal
        self._checks = checks
        self._me = me
        self._kept = {vote.voter: vote for vote in kept}
        for vote in kept:
            if vote.height > height - AT_STAKE:
                checks.recall(vote)
        checks.on_vote = self._saw

    def _saw(self, vote: Vote) -> None:
        """Nobody waits for this record: it leaves with the next vote of ours."""
        if self._me is None or vote.voter == self._me:
            return
        kept = self._kept.get(vote.voter)
        if kept is not None and vote.height < kept.height + RENEWED_AFTER:
            return
        seen = {key: last for key, last in self._checks.signed.items() if isinstance(last, Vote)}
        self._kept = {**self._kept, **seen, vote.voter: vote}
        self._kept.pop(self._me, None)
        try:
            self._append()
        except StorageError as error:
            # Met while a peer's vote is checked, which is no fault of it; the journal's owner ends the node.
            log.warning("vote_not_kept", why=str(error))

    def _append(self) -> None:
        record = encode_signers(tuple(self._kept.values()))
        self.position = self._journal.append(RecordKind.SIGNERS, record, urgent=False)

    def carry_over(self) -> None:
        """Append it again where it lies in an older segment than the last, so that that one can go."""
        if self.position is not None and segment_of(self.position) < segment_of(self._journal.end):
            self._append()
