"""What validators signed, read from their journals after the end, and who voted for the decisions."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from consensus.blocks import Proposal
from consensus.dissemination.batches import batch_digest
from consensus.votes import Vote, VoteKind
from prsm_node.consensus_host.records import RecordKind, decode_batch, decode_decision, decode_guard
from prsm_node.home import Home
from prsm_node.storage.journal import Journal
from prsm_node.storage.journal_segments import Record
from prsm_node.wire.kinds import Kind

Place = tuple[int, int, int]
"""Height, round, step: 1 proposal, 2 prevote, 3 precommit."""


def records(home: Path) -> list[Record]:
    """Return every record of a home whose daemon has ended."""
    journal = Journal.open(Home(home).journal)
    try:
        return list(journal.replay())
    finally:
        journal.close()


def signed_places(home: Path) -> dict[Place, set[bytes]]:
    """Return the messages signed at each place, over all runs of this home."""
    found: dict[Place, set[bytes]] = {}
    for record in records(home):
        if record.kind == RecordKind.GUARD:
            for signed in decode_guard(record.payload).signed:
                found.setdefault(_place(signed), set()).add(signed)
    return found


def _place(signed: bytes) -> Place:
    if signed[0] == Kind.VOTE:
        vote = msgspec.msgpack.decode(signed[1:], type=Vote)
        return vote.height, vote.round, 2 if vote.kind is VoteKind.PREVOTE else 3
    assert signed[0] == Kind.PROPOSAL, f"kind {signed[0]} is signed under the guard"
    proposal = msgspec.msgpack.decode(signed[1:], type=Proposal)
    return proposal.block.height, proposal.round, 1


def given_batches(home: Path) -> dict[tuple[bytes, int], set[bytes]]:
    """Return the digests acknowledged at each (author, sequence); an author acknowledges its own."""
    found: dict[tuple[bytes, int], set[bytes]] = {}
    for record in records(home):
        if record.kind == RecordKind.BATCH:
            batch = decode_batch(record.payload)
            if batch.acknowledgement:
                place = batch.header.author, batch.header.sequence
                found.setdefault(place, set()).add(batch_digest(batch.header))
    return found


def assert_nothing_signed_twice(homes: Iterable[Path]) -> None:
    """One message a (height, round, step) and one digest a (author, sequence), restarts included."""
    for home in homes:
        for place, messages in signed_places(home).items():
            assert len(messages) == 1, f"{home.name} signed {len(messages)} messages at {place}"
        for (_, sequence), digests in given_batches(home).items():
            assert len(digests) == 1, f"{home.name} acknowledged {len(digests)} digests at {sequence}"


def heights_precommitted(home: Path) -> set[int]:
    """Return the heights at which this home's validator precommitted."""
    return {height for height, _, step in signed_places(home) if step == 3}


def decision_voters(homes: Iterable[Path]) -> dict[int, set[bytes]]:
    """Return whose precommits the decisions of each height were seen with."""
    found: dict[int, set[bytes]] = {}
    for home in homes:
        for record in records(home):
            if record.kind == RecordKind.DECISION:
                decision = decode_decision(record.payload)
                voters = {vote.voter for vote in decision.certificate.votes}
                found.setdefault(decision.block.height, set()).update(voters)
    return found
