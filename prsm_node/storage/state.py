"""The state of the chain on this node: executes blocks, commits them, answers what others ask of them.

Durability lives in the journal; this is derived from it. `execute` changes memory only, `commit` brings what
was executed so far into LMDB in a worker thread while the next blocks are executed on top. After a crash the
node executes again what the journal has above `durable_height`, and arrives at the same roots, whatever the
commit points were. All methods belong on one thread, the event loop's.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import lmdb
import trio

from consensus.blocks import Block
from consensus.certificates import Certificate
from prsm_node.genesis import Genesis, GenesisValidator
from prsm_node.ledger.accounts import Account
from prsm_node.ledger.execution import Decoded, Executed, decoded, execute_decoded, transactions_of
from prsm_node.ledger.parameters import Parameters
from prsm_node.ledger.roots import AccountProof, state_root
from prsm_node.ledger.roster import AHEAD, Roster
from prsm_node.ledger.supply import Supply
from prsm_node.storage.accounts import AccountStore
from prsm_node.storage.accounts_copy import AccountsCopy
from prsm_node.storage.blocks import BatchRecord, BlockRecord, BlockStore, StoredBlock, rows_of
from prsm_node.storage.commit_pace import CommitPace
from prsm_node.storage.committer import Committer, Meta
from prsm_node.storage.environment import MAP_BYTES, Environment
from prsm_node.storage.errors import StorageError
from prsm_node.storage.executed_block import Execution
from prsm_node.storage.founding import check, found, root_of_genesis
from prsm_node.storage.generation import HEAD_KEY, SCHEMA, Head, read_head
from prsm_node.storage.history import Bodies, ReadBody
from prsm_node.storage.index_upkeep import IndexUpkeep
from prsm_node.storage.journal_use import Segments
from prsm_node.storage.offload import Offload
from prsm_node.storage.speculation import Overlay, Speculation
from prsm_node.storage.transaction_index import TransactionIndex
from prsm_node.storage.transaction_lookup import TransactionLookup

READER_CHECK_S: Final = 10.0
# Three deletions each: a commit that comes meanwhile waits about 10 ms.
PRUNED_AT_ONCE: Final = 256


class State:
    """Open with `State.open`."""

    def __init__(
        self,
        environment: Environment,
        genesis: Genesis,
        read_body: ReadBody,
        clock: Callable[[], float],
        offload: Offload,
        directory: Path,
    ) -> None:
        self._environment = environment
        self._genesis = genesis
        self._names = {validator.key: validator.name for validator in genesis.validators}
        self._clock = clock
        self._blocks = BlockStore(environment)
        self._index = TransactionIndex(directory / "index")
        self._index_upkeep = IndexUpkeep(self._index, offload)
        self._segments = Segments(environment)
        self._pace = CommitPace(clock)
        stored = environment.get(environment.meta, HEAD_KEY)
        if stored is None:
            self._accounts = AccountStore(environment, 0)
            self._head = found(environment, self._accounts, genesis)
        else:
            self._head = read_head(stored, directory)
            self._accounts = AccountStore(environment, self._head.accounts)
            check(environment, self._accounts, self._head, genesis)
        self._committer = Committer(
            environment,
            self._accounts,
            self._blocks,
            self._segments,
            self._index_upkeep,
            self._pace,
            offload,
            self._head.height,
        )
        self.transactions = TransactionLookup(self._blocks, Bodies(read_body), self._index, self.account)
        self._genesis_root = root_of_genesis(environment)
        self._index.open(self._head.height, self._blocks.rows, self._blocks.first)

    @classmethod
    def open(
        cls,
        directory: Path,
        genesis: Genesis,
        read_body: ReadBody,
        *,
        map_bytes: int = MAP_BYTES,
        sync: bool = True,
        clock: Callable[[], float] = time.monotonic,
        offload: Offload = trio.to_thread.run_sync,
    ) -> "State":
        """Open the state in `directory`, or lay down the genesis there; raise StorageError.

        `read_body` gives the body at a position in the journal. Opening hashes all accounts (0.1 s for each
        million) and so checks every record against the stored root.
        """
        environment = Environment(directory, map_bytes, sync)
        try:
            return cls(environment, genesis, read_body, clock, offload, directory)
        except (lmdb.Error, OSError) as error:
            environment.close()
            raise StorageError(f"the state in {directory} cannot be read: {error}; check the disk") from None
        except BaseException:
            environment.close()
            raise

    @property
    def height(self) -> int:
        """Of the last executed block; 0 before the first."""
        return self._head.height

    @property
    def durable_height(self) -> int:
        """Of the last committed block: the journal is needed above it, and for bodies."""
        return self._committer.durable

    @property
    def first_block(self) -> int:
        """The lowest height whose block is kept: those below are pruned, or lie below a snapshot."""
        return self._blocks.first

    @property
    def head(self) -> Head:
        """All of the state but the accounts, as of the last executed block."""
        return self._head

    @property
    def digest(self) -> bytes:
        """Of the last executed block; the genesis hash at height 0."""
        return self._head.digest

    @property
    def time_ms(self) -> int:
        """Of the last executed block; the genesis' at height 0."""
        return self._head.time_ms

    @property
    def parameters(self) -> Parameters:
        return self._genesis.parameters

    @property
    def supply(self) -> Supply:
        return self._head.supply

    @property
    def accounts(self) -> int:
        """How many exist."""
        return self._accounts.count

    @property
    def roster(self) -> Roster:
        """Who validates and who was convicted, as of the last executed block."""
        return self._head.roster

    def validators(self, height: int) -> tuple[GenesisValidator, ...]:
        """Return the set in force at `height`, at most three above the executed one, with the names of the
        genesis."""
        assert height <= self._head.height + AHEAD, f"the set of {height} is not known yet"
        names = self._names
        return tuple(
            GenesisValidator(member.key, member.power, names[member.key])
            for member in self._head.roster.term(height).members
        )

    def state_root(self, height: int) -> bytes | None:
        """Return the root after `height`, None for one above the executed ones, pruned, or below a
        snapshot."""
        if height == self._head.height:
            return self._head.root
        if height == 0:
            return self._genesis_root
        record = self._blocks.block(height)
        return None if record is None else record.state_root

    def header_root(self, height: int) -> bytes | None:
        """Return the root that block `height` must name: that after `height - 2`; None if not executed."""
        return self.state_root(max(height - 2, 0))

    def execute(
        self,
        block: Block,
        digest: bytes,
        commit: Certificate,
        batches: Sequence[BatchRecord],
        bodies: Sequence[bytes | Decoded],
        invalid: Sequence[int] = (),
        speculated: Speculation | None = None,
    ) -> Execution:
        """Execute the next block; batches and their bodies come in order of execution. Nothing is written.

        `invalid`: indexes of transactions whose signature is known to be wrong, equal on all nodes.
        `speculated`: what `speculate` gave for this very block upon the present state.
        """
        height = block.height
        assert height == self._head.height + 1, f"block {height} after {self._head.height}"
        assert len(batches) == len(bodies), f"{len(batches)} batches, {len(bodies)} bodies"
        held = _taken_apart(bodies) if speculated is None else speculated.bodies
        counted = [
            BatchRecord(batch.author, batch.sequence, batch.digest, batch.position, len(body.hashes))
            for batch, body in zip(batches, held, strict=True)
        ]
        accounts = self._accounts
        accounts.begin()
        try:
            if speculated is None:
                done = execute_decoded(accounts, self._head.supply, self.parameters, height, held, invalid)
            else:
                done = self._adopt(speculated, digest, invalid)
            of_accounts = accounts.hash_changes()
        finally:
            accounts.end()
        lanes = self._head.lanes.after(block.tips)
        roster = self._head.roster.after(block, self.parameters.unbonding_ms)
        root = state_root(of_accounts, done.supply.root, lanes.root, roster.root)
        rows = rows_of(done)
        self._blocks.add(BlockRecord(block, digest, root, tuple(counted)), commit, rows)
        self._index.add(height, rows)
        self._segments.add(height, batches)
        self._head = Head(
            SCHEMA, height, digest, block.time_ms, root, accounts.count, done.supply, lanes, roster
        )
        self._pace.executed(len(done.hashes))
        return Execution(height, digest, root, block.time_ms, done)

    def speculate(self, block: Block, digest: bytes, bodies: Sequence[bytes | Decoded]) -> Speculation:
        """Execute a block that may become the next one. The state does not change: see `execute`."""
        assert block.height == self._head.height + 1, f"block {block.height} after {self._head.height}"
        held = _taken_apart(bodies)
        overlay = Overlay(self._accounts, self._accounts.count)
        self._accounts.begin()
        try:
            done = execute_decoded(overlay, self._head.supply, self.parameters, block.height, held)
        finally:
            self._accounts.end()
        return Speculation(digest, self._head.digest, held, done, overlay)

    def replace_commit(self, height: int, commit: Certificate) -> None:
        """Keep this stronger certificate of an executed block; it is written with the next commit."""
        assert 1 <= height <= self._head.height, f"height {height} is not executed"
        self._blocks.replace_commit(height, commit)

    @property
    def should_commit(self) -> bool:
        """Whether now is the moment (commit_pace.py)."""
        return self._committer.due(self._head.height)

    @property
    def overloaded(self) -> bool:
        """Whether so much waits for the disk that the node must await a commit before it executes more."""
        return self._pace.overloaded

    def put_meta(self, key: bytes, value: bytes) -> None:
        """Keep a value of the caller's beside the state; written in the next commit."""
        self._committer.put_meta(key, value)

    def durable_meta(self, key: bytes) -> bytes | None:
        """Return what the disk holds under this key."""
        return self._committer.durable_meta(key)

    def meta(self, key: bytes) -> bytes | None:
        """Return what was kept under this key."""
        return self._committer.meta(key)

    async def commit(
        self,
        meta: Meta | None = None,
        rests_on: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Make what was executed so far durable, in one transaction, while the loop goes on.

        `meta` is called with the height that the commit will make durable and gives values to keep with it,
        e.g. from where the journal is needed. `rests_on` returns when what the state points to, the bodies in
        the journal, is durable, or raises StorageError. Raise StorageError: nothing was written, and the next
        commit tries it again. Once begun it is carried out even if cancelled.
        """
        await self._committer.commit(lambda: self._head, meta, rests_on)

    def copy_accounts(self) -> AccountsCopy:
        """Begin a copy of the accounts as of the last block, all of it being committed; end it with
        `end_copy`."""
        assert self.durable_height == self._head.height, (
            f"{self._head.height} is executed, {self.durable_height} committed"
        )
        return self._accounts.copy()

    def end_copy(self) -> None:
        self._accounts.end_copy()

    async def prune(self, first: int) -> None:
        """Forget the blocks below `first` with all indexes of them. Raise StorageError where the disk fails;
        what is pruned by then stays so. Once begun, a step is carried out even if cancelled."""
        assert first <= self.durable_height, f"block {first} is not durable"
        while self._blocks.first < first:
            await self._committer.prune(min(first, self._blocks.first + PRUNED_AT_ONCE))
        await self._index_upkeep.prune(first)
        self._segments.prune(first)

    @property
    def bodies_from(self) -> int | None:
        """The position in the journal below which no body of a kept block lies; None where no block has
        one."""
        return self._segments.oldest(self._blocks.first)

    async def tend(self) -> None:
        """Clear dead readers and merge the transaction index in the background, for ever: run it as a
        task."""
        checked_at = self._clock()
        while True:
            await trio.sleep(1.0)
            if self._clock() - checked_at >= READER_CHECK_S:
                checked_at = self._clock()
                self._environment.check_readers()
            await self.merge_index()

    async def merge_index(self) -> bool:
        """Merge some runs of the transaction index in a worker thread, if there are enough; tell whether."""
        return await self._index_upkeep.merge()

    def close(self) -> None:
        """Close the files; what is not committed stays in the journal. Not while a commit is under way."""
        assert not self._committer.busy, "a commit is under way"
        self._index.close()
        self._environment.close()

    def account(self, address: bytes) -> Account | None:
        """Return the account as of the last executed block."""
        return self._accounts.account(address)

    def proof(self, address: bytes) -> AccountProof | None:
        """Return a proof under the last executed block's root; `ledger.roots.verify_account` checks it."""
        return self._accounts.proof(address, self._head.others)

    def header(self, height: int) -> Block | None:
        """Return a decided block without its certificate, None where it is not executed here."""
        record = self._blocks.block(height)
        return None if record is None else record.block

    def block(self, height: int) -> StoredBlock | None:
        record = self._blocks.block(height)
        commit = None if record is None else self._blocks.commit(height)
        return None if record is None or commit is None else StoredBlock(record, commit)

    def _adopt(self, speculated: Speculation, digest: bytes, invalid: Sequence[int]) -> Executed:
        assert speculated.digest == digest, "another block was speculated on"
        assert speculated.parent == self._head.digest, "it was speculated on another parent"
        assert not invalid, "a speculation takes every signature for valid"
        change = speculated.overlay.write(self._accounts)
        expected = speculated.executed.supply.in_accounts - self._head.supply.in_accounts
        assert change == expected, f"balances changed by {change}, speculated were {expected}"
        return speculated.executed


def _taken_apart(bodies: Sequence[bytes | Decoded]) -> list[Decoded]:
    return [body if isinstance(body, Decoded) else decoded(transactions_of(body)) for body in bodies]
