"""The proposals of open heights: the last few heard, and on the disk those that this node stands for.

A polka is worth little when all who have its block end and forget it. So who votes for a value has its
proposal in the journal first: of those whose votes make a polka more than a third are honest, and each of
them can give the block after whatever restart. What was only heard costs the disk nothing, or one faulty
proposer could fill it, and crowd out what a restart needs.
"""

from collections.abc import Mapping
from typing import NamedTuple

from consensus.blocks import CheckedProposal, Proposal, block_digest
from prsm_node.consensus_host.records import RecordKind, decode_proposal, encode_record
from prsm_node.storage.journal import Journal

HEARD_MAX = 8
"""Of 256 KiB at most each: this round's, and what came early. Who lacks another one's block asks those who
voted for it."""


class KeptProposal(NamedTuple):
    """Where the journal has a proposal of a value."""

    height: int
    position: int


class ProposalStore:
    """Args: kept: what the last run kept, by value."""

    def __init__(self, journal: Journal, kept: Mapping[bytes, KeptProposal]) -> None:
        self._journal = journal
        self._kept = dict(kept)
        self._heard: dict[bytes, CheckedProposal] = {}

    def hear(self, proposal: CheckedProposal) -> None:
        """Remember one of the last few."""
        self._heard.setdefault(block_digest(proposal.block), proposal)
        while len(self._heard) > HEARD_MAX:
            del self._heard[next(iter(self._heard))]

    def keep(self, proposal: CheckedProposal) -> None:
        """Queue a proposal for the journal; a vote for it, appended later, is durable no sooner."""
        value = block_digest(proposal.block)
        if value in self._kept:
            return
        position = self._journal.append(RecordKind.PROPOSAL, encode_record(proposal), urgent=False)
        self._kept[value] = KeptProposal(proposal.height, position)

    def get(self, value: bytes) -> Proposal | None:
        """Return a proposal of this value, to be given to who lacks its block. Raise StorageError where the
        journal is damaged."""
        if (heard := self._heard.get(value)) is not None:
            return heard
        kept = self._kept.get(value)
        return decode_proposal(self._journal.read(kept.position)) if kept is not None else None

    def heard(self, value: bytes) -> CheckedProposal | None:
        """Return the proposal of this value if it is one of the last few."""
        return self._heard.get(value)

    def oldest_position(self, height: int) -> int | None:
        """Return the least position of what is kept for `height`, the open one, and above. Of a decided
        height nothing is: the decision's own record holds its block."""
        self._kept = {value: kept for value, kept in self._kept.items() if kept.height >= height}
        return min((kept.position for kept in self._kept.values()), default=None)
