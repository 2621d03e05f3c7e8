"""What a restart takes back from the journal: batches and acknowledgements, the guard, proposals, decisions.

LMDB's mark says from where to read. What was decided but not committed to LMDB is executed again by node.py;
the replica then starts above it with the lock, the valid value and the acknowledgements that it had.
"""

from collections.abc import Callable

import msgspec
import structlog
import trio
from msgspec.structs import replace

from consensus.agreement.own_votes import diverged_after
from consensus.blocks import CheckedProposal, Proposal, block_digest
from consensus.certificates import CheckedCertificate
from consensus.chain import ChainStart
from consensus.dissemination.acknowledgements import Acknowledgement, CheckedAcknowledgement
from consensus.dissemination.batches import CheckedBatch, batch_digest
from consensus.dissemination.lanes import Lanes
from consensus.guard import Guard
from consensus.votes import Vote
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.chain_mark import ChainMark
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.executor import Executor
from prsm_node.consensus_host.proposal_store import KeptProposal
from prsm_node.consensus_host.records import (
    KeptDecision,
    RecordKind,
    decode_batch,
    decode_decision,
    decode_guard,
    decode_proposal,
    decode_signers,
)
from prsm_node.ledger.roster import AHEAD, Roster
from prsm_node.storage.errors import StorageError
from prsm_node.storage.journal import Journal
from prsm_node.wire.kinds import Kind

log = structlog.get_logger("consensus")

# Given to the replica again, of what the last run stood for: no round needs more than what we hold to, the
# proposals of the last rounds and one of ours. All of it can be asked for.
PROPOSALS_MAX = 64


class Recovered(msgspec.Struct):
    guard: Guard
    guard_position: int | None
    proposals: list[CheckedProposal]
    """Of undecided heights, oldest first: the last ones, and in any case what the guard holds to."""
    acknowledged: dict[bytes, bytes]
    """Our signature by the digest of the batch it acknowledges."""
    kept: dict[bytes, KeptProposal]
    """By value, where all proposals of undecided heights are."""
    signers: tuple[Vote, ...] = ()
    """A vote of each validator that was seen."""
    signers_position: int | None = None


async def recover(journal: Journal, start: int | None, batches: BatchStore, executor: Executor) -> Recovered:
    """Read the journal from `start`, executing decisions as their batches come. Raise StorageError where
    damaged, or where it begins above the state: part of it was pruned, and the state is gone.

    What is read before its decision is dropped after it, so that memory does not grow with the journal.
    """
    found = Recovered(Guard(), None, [], {}, {})
    decisions: dict[int, KeptDecision] = {}
    for record in journal.replay(start):
        if record.kind == RecordKind.GUARD:
            found.guard, found.guard_position = decode_guard(record.payload), record.position
        elif record.kind == RecordKind.SIGNERS:
            found.signers, found.signers_position = decode_signers(record.payload), record.position
        elif record.kind == RecordKind.PROPOSAL:
            proposal = decode_proposal(record.payload)
            value = block_digest(proposal.block)
            found.kept.setdefault(value, KeptProposal(proposal.height, record.position))
        elif record.kind == RecordKind.BATCH:
            batch = decode_batch(record.payload)
            if batch.header.sequence <= executor.executed_tip(batch.header.author).sequence:
                continue
            # Without an acknowledgement of ours it was kept for its decision, checked or not.
            stored = batches.put(batch.header, batch.body, checked=bool(batch.acknowledgement))
            stored.position = record.position
            if batch.acknowledgement:
                stored.acknowledging = stored.acknowledged = True
                found.acknowledged[stored.digest] = batch.acknowledgement
        elif record.kind == RecordKind.DECISION:
            decision = decode_decision(record.payload)
            if decision.block.height <= executor.mark.height:
                continue  # below a state that came by a snapshot the journal may hold a whole chain
            decisions[decision.block.height] = decision
            if (
                decision.block.height > (next_height := executor.mark.height + 1)
                and next_height not in decisions
            ):
                raise StorageError(
                    f"the journal goes on with block {decision.block.height}, and the state ends with "
                    f"{executor.mark.height}: it was removed, and what it rested on is pruned; remove it "
                    "again and start with --sync snapshot"
                )
        await _execute_known(decisions, executor)
        if record.kind == RecordKind.DECISION:
            height = executor.mark.height
            found.kept = {value: kept for value, kept in found.kept.items() if kept.height > height}
    found.kept = {value: kept for value, kept in found.kept.items() if kept.height > executor.mark.height}
    found.proposals = [
        CheckedProposal(decode_proposal(journal.read(position)))
        for position in _wanted_again(found.kept, found.guard)
    ]
    return found


def of_key(found: Recovered, me: bytes | None, batches: BatchStore, checks: Checks) -> Recovered:
    """Return what was left, without what another validator key signed that ran in this home before `me`.

    That key's guard says nothing of what ours signed: taken for it, it would let us vote without asking
    others, and forget our lock. Its acknowledgements of batches in our lane would make certificates that
    nobody takes.
    """
    if me is None:
        return found
    if found.guard.signed and _signer(found.guard.signed[-1]) != me:
        log.warning("guard_of_another_key", height=found.guard.height)
        found = replace(found, guard=Guard(), guard_position=None)
    ours = {
        stored.digest: stored.header
        for stored in batches.all()
        if stored.header.author == me and stored.digest in found.acknowledged
    }
    forged = {
        digest
        for digest, header in ours.items()
        if checks.acknowledgement(
            Acknowledgement(me, header.sequence, digest, me, found.acknowledged[digest])
        )
        is None
    }
    given = {digest: by for digest, by in found.acknowledged.items() if digest not in forged}
    return replace(found, acknowledged=given)


def _signer(message: bytes) -> bytes:
    """Who signed a message that a guard holds."""
    if message[0] == Kind.PROPOSAL:
        return msgspec.msgpack.decode(message[1:], type=Proposal).proposer
    return msgspec.msgpack.decode(message[1:], type=Vote).voter


def _wanted_again(kept: dict[bytes, KeptProposal], guard: Guard) -> list[int]:
    """Return where the proposals are that the replica is given again, oldest first."""
    last = sorted(place.position for place in kept.values())[-PROPOSALS_MAX:]
    held = (kept[value].position for value in (guard.locked_value, guard.valid_value) if value in kept)
    return sorted({*last, *held})


async def _execute_known(decisions: dict[int, KeptDecision], executor: Executor) -> None:
    """Execute what is decided and at hand; a decision whose batches never came is asked of peers again."""
    while (decision := decisions.get(executor.mark.height + 1)) is not None:
        if decision.block.parent != executor.mark.digest:
            raise StorageError(
                f"the journal goes on with a block {decision.block.height} of another chain than the state; "
                "one of the two is of another network or home: put back the one that belongs here, or remove "
                "both and sync anew with another validator key"
            )
        batches = executor.gathered(decision.block)
        if batches is None:
            return
        del decisions[decision.block.height]
        executor.execute_decided(decision.block, CheckedCertificate(decision.certificate), batches)
        await executor.commit_if_due()
        await trio.lowlevel.checkpoint()


def restore_lanes(lanes: Lanes, batches: BatchStore, recovered: Recovered, me: bytes | None) -> None:
    """Give the lanes back what was checked and acknowledged above their committed tips.

    A lane acknowledges what it holds, so the rest comes to it by way of its check. Of our own all counts:
    none of it is acknowledged again, and a sequence that was used must not be used twice.
    """
    for stored in sorted(batches.all(), key=lambda stored: stored.header.sequence):
        if not stored.checked and stored.header.author != me:
            continue
        signature = recovered.acknowledged.get(stored.digest)
        given = None
        if signature is not None and me is not None:
            header = stored.header
            given = CheckedAcknowledgement(
                Acknowledgement(header.author, header.sequence, batch_digest(header), me, signature)
            )
        lanes.restore_batch(CheckedBatch(stored.header), given)


def settled(guard: Guard, executed: int, decided: Callable[[int], bytes | None]) -> Guard:
    """Return the guard to go on with above `executed`.

    One of a decided height has done its work, but for what it says of votes that the chain did not follow.
    `decided` gives the value decided at a height, None where that is pruned.
    """
    if not 0 < guard.height <= executed:
        return guard
    value = decided(guard.height)
    if value is None:
        # Pruned: what can't be compared counts as strayed, which only makes our votes weigh less in strength.
        return Guard(height=guard.height, diverged=guard.height if guard.precommitted else guard.diverged)
    return Guard(height=guard.height, diverged=diverged_after(guard, guard.height, value))


def chain_start(mark: ChainMark, roster: Roster, window_ms: int) -> ChainStart:
    """Return where the replica takes the chain up; `roster` is the state's, `window_ms` the unbonding
    time."""
    terms = {mark.height + ahead: roster.term(mark.height + ahead) for ahead in range(1, AHEAD + 1)}
    return ChainStart(
        height=mark.height,
        digest=mark.digest,
        time_ms=mark.time_ms,
        tips=mark.tips,
        roots=dict(mark.roots),
        sets={height: term.set for height, term in terms.items()},
        last_work=mark.last_work,
        since={height: term.since for height, term in terms.items()},
        convicted=roster.convicted,
        window=roster.window,
        window_ms=window_ms,
    )
