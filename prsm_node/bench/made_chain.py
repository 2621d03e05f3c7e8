"""A chain as validators would have left it on a disk: made by their keys through the executor, journal and
state of a daemon, without the rounds of agreement between them. Every signature in it is good."""

import time
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
import trio

from consensus.blocks import Block, Tip, block_digest
from consensus.certificates import CheckedCertificate, certificate_of
from consensus.dissemination.batches import EMPTY_LANE, BatchHeader, batch_digest
from consensus.inputs import BlockExecuted
from consensus.validators import ValidatorSet
from consensus.votes import CheckedVote, Vote, VoteKind
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.chain_mark import first_mark
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.executor import Executor
from prsm_node.consensus_host.executor import Final as FinalBlock
from prsm_node.consensus_host.records import batch_body
from prsm_node.consensus_host.signer import Signer
from prsm_node.genesis import Genesis
from prsm_node.home import Home
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.storage.executed_block import Execution
from prsm_node.storage.journal import Journal
from prsm_node.storage.snapshot_folder import SnapshotFolder
from prsm_node.storage.state import State
from prsm_node.sync.snapshot_taking import SnapshotTaking

BLOCK_MS: Final = 100
"""Between the times of two blocks."""


class _NoPeers:
    """The executor's wanter: nothing is ever missing here."""

    def batch(self, author: bytes, digest: bytes, link: int) -> None:
        raise AssertionError("a made chain lacks a batch")

    def lacking(self, block: Block) -> None:
        raise AssertionError("a made chain lacks a batch")


class ChainMaker:
    """Appends blocks to the chain in a home, and takes a snapshot every so many; its daemon must not run
    meanwhile."""

    def __init__(
        self, home: Home, genesis: Genesis, keys: Sequence[SigningKey], snapshot_blocks: int = 0
    ) -> None:
        checks = Checks(genesis.hash)
        self._signers = {key.public: Signer(genesis.hash, key, checks) for key in keys}
        self._set = ValidatorSet.of(tuple((v.key, v.power) for v in genesis.validators))
        self._journal = Journal.open(home.journal)
        self._state = State.open(
            home.state, genesis, lambda position: batch_body(self._journal.read(position))
        )
        root = self._state.state_root(0)
        assert root is not None, "the genesis has a root"
        self._batches = BatchStore()
        self._folder = SnapshotFolder(home.snapshots)
        self._folder.open()
        self._taking = SnapshotTaking(
            self._state, self._folder, snapshot_blocks, lambda: self._executor.mark.heads
        )
        self._executor: Executor = Executor(
            state=self._state,
            mark=first_mark(genesis.hash, genesis.time_ms, root, self._journal.begin),
            batches=self._batches,
            journal=self._journal,
            wanter=_NoPeers(),
            validators=lambda height: self._set,
            executed=self._executed,
            final=_told,
            signed_from=lambda: None,
            snapshots=self._taking,
        )
        self._lanes = {key: Tip(key, 0, EMPTY_LANE) for key in self._signers}
        self._more = trio.Event()
        self._time_ms = genesis.time_ms

    def _executed(self, happened: BlockExecuted, execution: Execution) -> None:
        self._more.set()
        self._more = trio.Event()
        self._taking.grown()

    async def make(self, bodies: Iterable[bytes | None]) -> int:
        """Append a block for each body, which one lane after the other gets, or an empty one for None; commit
        all, and return the height."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._journal.run)
            nursery.start_soon(self._executor.run)
            nursery.start_soon(self._taking.run)
            for body in bodies:
                self._append(body)
                while self._state.height < self._executor_height:
                    await self._more.wait()
            await self._executor.commit()
            await self._taking.idle()
            nursery.cancel_scope.cancel()
        self._state.close()
        return self._state.height

    def _append(self, body: bytes | None) -> None:
        height = self._state.height + 1
        proposer = self._set.proposer(height, 0)
        root = self._state.header_root(height)
        assert root is not None, f"block {height - 2} is not executed"
        self._time_ms += BLOCK_MS
        block = Block(
            height=height,
            parent=self._state.digest,
            time_ms=self._time_ms,
            proposer=proposer,
            tips=() if body is None else (self._sealed(proposer, body),),
            evidence=(),
            state_root=root,
            next_validators=self._set.hash,
        )
        self._executor.decide(block, self._certified(height, block_digest(block)))
        self._executor_height = height

    def _sealed(self, author: bytes, body: bytes) -> Tip:
        parent = self._lanes[author]
        header = BatchHeader(author, parent.sequence + 1, parent.digest, sha256(body).digest())
        signed = self._signers[author].batch(header)
        self._batches.put(signed, body)
        tip = self._lanes[author] = Tip(author, header.sequence, batch_digest(header))
        return tip

    def _certified(self, height: int, value: bytes) -> CheckedCertificate:
        """Of all validators, as most heights have it once the late precommits are in."""
        votes: list[CheckedVote] = [
            signer.vote(Vote(VoteKind.PRECOMMIT, height, 0, value, -1, 0, key))
            for key, signer in self._signers.items()
        ]
        return certificate_of(votes)


def _told(final: FinalBlock) -> None:
    """Nobody waits for these blocks."""


def genesis_time_ms(blocks: int) -> int:
    """Return a genesis time from which so many blocks end before now."""
    return time.time_ns() // 1_000_000 - (blocks + 10) * BLOCK_MS


def bodies_of(raws: Sequence[bytes], in_block: int) -> Iterator[bytes]:
    for at in range(0, len(raws), in_block):
        yield msgspec.msgpack.encode(raws[at : at + in_block])


def data_of(home: Home) -> Path:
    """The folder with all that a chain is on the disk."""
    return home.state.parent
