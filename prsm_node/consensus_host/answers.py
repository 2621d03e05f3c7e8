"""Answers what peers ask for: batches, certificates of tips, blocks, how far a key has signed.

Each answer is bounded and read from memory, LMDB or the journal; what this node has not is answered by None.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec
import trio

from consensus.blocks import Block
from consensus.bounds import Height
from consensus.certificates import votes_of
from consensus.dissemination.batches import BatchHeader
from consensus.votes import Vote
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.checks import signed_place
from prsm_node.consensus_host.fetcher import BlockAnswer
from prsm_node.consensus_host.host import ConsensusHost
from prsm_node.consensus_host.records import decode_batch
from prsm_node.consensus_host.seen_signers import AT_STAKE
from prsm_node.consensus_host.sessions import LiveSessions, encode_authored, encode_seen
from prsm_node.storage.blocks import BatchRecord
from prsm_node.storage.journal import Journal
from prsm_node.storage.offload import Offload
from prsm_node.storage.snapshot_folder import SnapshotFolder
from prsm_node.storage.state import State
from prsm_node.wire.payloads import (
    Batch,
    BatchWanted,
    BlocksWanted,
    BlockWanted,
    CertificateWanted,
    Committed,
    GenesisWanted,
    GroupWanted,
    HeadersWanted,
    RestWanted,
    SequenceWanted,
    SessionWanted,
    SignedWanted,
    SnapshotWanted,
)

BLOCKS_BYTES_MAX = 4 << 20
"""Of one answer to BlocksWanted: 8 answers under way are 32 MiB."""
# Encoded, a header takes so much and so much more a tip, at most.
HEADER_BYTES, TIP_BYTES = 256, 80
# Between two checkpoints of the loop: 1 ms of headers, and of full blocks 2 ms.
HEADERS_AT_ONCE, BLOCKS_AT_ONCE = 64, 8


class SyncedBlock(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A decided block with all that executing it takes."""

    committed: Committed
    batches: tuple[Batch, ...]
    """In order of execution, oldest of a lane first. Where some are left, the first ones in the order that
    RestWanted names."""
    left: int = 0
    """How many more it orders, of a block that is too large for one answer."""


class Pruned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to BlocksWanted for blocks that were here and are no more; a map where others are arrays."""

    first: Height
    """The lowest height whose block is kept."""


_encode = msgspec.msgpack.Encoder().encode
_synced_or_pruned = msgspec.msgpack.Decoder(tuple[SyncedBlock, ...] | Pruned)
_headers = msgspec.msgpack.Decoder(tuple[Block, ...])
_batches = msgspec.msgpack.Decoder(tuple[Batch, ...])


def decode_blocks(answer: bytes) -> tuple[SyncedBlock, ...] | Pruned:
    """Raise one of UNREADABLE."""
    decoded: tuple[SyncedBlock, ...] | Pruned = _synced_or_pruned.decode(answer)
    return decoded


def decode_headers(answer: bytes) -> tuple[Block, ...]:
    """Raise one of UNREADABLE."""
    return _headers.decode(answer)


def decode_batches(answer: bytes) -> tuple[Batch, ...]:
    """Raise one of UNREADABLE."""
    return _batches.decode(answer)


class Answers:
    """Args: `sessions` knows the live sessions of validator keys, this node's own among them."""

    def __init__(
        self,
        host: ConsensusHost,
        state: State,
        journal: Journal,
        batches: BatchStore,
        genesis: bytes,
        sessions: LiveSessions,
        head_of: Callable[[bytes], BatchHeader | None],
        snapshots: SnapshotFolder,
        offload: Offload = trio.to_thread.run_sync,
    ) -> None:
        self._host = host
        self._state = state
        self._journal = journal
        self._batches = batches
        self._genesis = genesis
        self._sessions = sessions
        self._head_of = head_of
        self._snapshots = snapshots
        self._offload = offload

    async def answer(self, link: int, wanted: Any) -> bytes | None:
        """Return the body of an answer, or None. Raises nothing over what a peer asks."""
        if isinstance(wanted, SessionWanted):
            return await self._sessions.answer(link, wanted)
        if isinstance(wanted, HeadersWanted):
            return await self._headers(link, wanted)
        if isinstance(wanted, BlocksWanted):
            return await self._blocks(link, wanted)
        if isinstance(wanted, SnapshotWanted):
            return await self._snapshot(wanted)
        if isinstance(wanted, GroupWanted):
            return await self._group(wanted)
        return ANSWERS[type(wanted)](self, link, wanted)

    def _batch(self, link: int, wanted: BatchWanted) -> bytes | None:
        stored = self._batches.get(wanted.digest)
        if stored is not None:
            return _encode(Batch(stored.header, stored.body)) if not stored.withheld else None
        position = self._batches.executed_position(wanted.digest)
        if position is None:
            return None
        if position < self._journal.begin:
            return None  # pruned
        record = decode_batch(self._journal.read(position))
        return _encode(Batch(record.header, record.body))

    def _certificate(self, link: int, wanted: CertificateWanted) -> bytes | None:
        lane = self._host.replica.lanes.lane(wanted.author)
        certificate = lane.certificates.get(wanted.sequence) if lane is not None else None
        if certificate is None or certificate.digest != wanted.digest:
            return None
        return _encode(certificate)

    def _block(self, link: int, wanted: BlockWanted) -> bytes | None:
        committed = self.committed(wanted.height)
        if committed is not None:
            return _encode(BlockAnswer(None, committed))
        proposal = self._host.proposals.get(wanted.value)
        return _encode(BlockAnswer(proposal, None)) if proposal is not None else None

    def committed(self, height: int) -> Committed | None:
        """Return a decided block with its certificate, if it is executed here."""
        stored = self._state.block(height)
        return Committed(stored.record.block, stored.commit) if stored is not None else None

    async def _blocks(self, link: int, wanted: BlocksWanted) -> bytes | None:
        if 0 < wanted.from_height < self._state.first_block:
            return _encode(Pruned(self._state.first_block))
        found: list[SyncedBlock] = []
        room = BLOCKS_BYTES_MAX
        for height in range(wanted.from_height, wanted.from_height + wanted.count):
            stored = self._state.block(height) if height > 0 else None
            if stored is None:
                break
            places, committed = stored.record.batches, Committed(stored.record.block, stored.commit)
            batches = self._fitting(places, room)
            if len(batches) < len(places):
                if not found:
                    batches = self._fitting(_newest_first(places), BLOCKS_BYTES_MAX)
                    found.append(SyncedBlock(committed, batches, len(places) - len(batches)))
                break
            room -= sum(len(batch.body) for batch in batches) + 4_096
            found.append(SyncedBlock(committed, batches))
            if len(found) % BLOCKS_AT_ONCE == 0:
                # A validator that serves who is far behind must not miss its own rounds.
                await trio.lowlevel.checkpoint()
        return _encode(tuple(found)) if found else None

    def _rest(self, link: int, wanted: RestWanted) -> bytes | None:
        stored = self._state.block(wanted.height) if wanted.height > 0 else None
        places = _newest_first(stored.record.batches)[wanted.skip :] if stored is not None else ()
        batches = self._fitting(places, BLOCKS_BYTES_MAX)
        return _encode(batches) if batches else None

    def _fitting(self, places: Iterable[BatchRecord], room: int) -> tuple[Batch, ...]:
        """Return the first of these batches, as many as have room."""
        found: list[Batch] = []
        for place in places:
            record = decode_batch(self._journal.read(place.position))
            room -= len(record.body)
            if room < 0:
                break
            found.append(Batch(record.header, record.body))
        return tuple(found)

    async def _headers(self, link: int, wanted: HeadersWanted) -> bytes | None:
        found: list[Block] = []
        size = 0
        for height in range(wanted.height, max(0, wanted.height - wanted.count), -1):
            header = self._state.header(height)
            if header is None:
                break
            size += HEADER_BYTES + TIP_BYTES * len(header.tips)
            if found and size > BLOCKS_BYTES_MAX:
                break
            found.append(header)
            if len(found) % HEADERS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        return _encode(tuple(found)) if found else None

    async def _snapshot(self, wanted: SnapshotWanted) -> bytes | None:
        newest = self._snapshots.newest
        if newest is None or newest.height <= wanted.above:
            return None
        return await self._offload(newest.encoded)

    async def _group(self, wanted: GroupWanted) -> bytes | None:
        snapshot = self._snapshots.at(wanted.height)
        groups = snapshot.manifest.groups if snapshot is not None else ()
        if snapshot is None or wanted.index >= len(groups) or groups[wanted.index] != wanted.hash:
            return None
        return await self._offload(partial(snapshot.group, wanted.index))

    def _genesis_document(self, link: int, wanted: GenesisWanted) -> bytes | None:
        return self._genesis

    def _sequence(self, link: int, wanted: SequenceWanted) -> bytes | None:
        lane = self._host.replica.lanes.lane(wanted.author)
        held = lane.batches.values() if lane is not None else ()
        above = max(held, key=lambda batch: batch.sequence, default=None)
        return encode_authored(above or self._head_of(wanted.author))

    def _signed(self, link: int, wanted: SignedWanted) -> bytes | None:
        heard = self._host.checks.signed.get(wanted.validator)
        decided = self._last_precommit(wanted.validator)
        known = [message for message in (heard, decided) if message is not None]
        return encode_seen(max(known, key=signed_place, default=None))

    def _last_precommit(self, validator: bytes) -> Vote | None:
        """Return the precommit that a decision last shows: of what was heard a restart keeps little."""
        top = self._state.height
        for height in range(top, max(0, top - AT_STAKE), -1):
            stored = self._state.block(height)
            if stored is not None:
                found = [vote for vote in votes_of(stored.commit) if vote.voter == validator]
                if found:
                    return found[0]
        return None


def _newest_first(places: Iterable[BatchRecord]) -> list[BatchRecord]:
    return sorted(places, key=lambda place: (place.author, -place.sequence))


ANSWERS: dict[type[Any], Callable[[Answers, int, Any], bytes | None]] = {
    BatchWanted: Answers._batch,
    CertificateWanted: Answers._certificate,
    BlockWanted: Answers._block,
    GenesisWanted: Answers._genesis_document,
    SequenceWanted: Answers._sequence,
    SignedWanted: Answers._signed,
    RestWanted: Answers._rest,
}
