"""One node: each room built from the rooms below it, then owned until one of them ends or the operator stops
it.

The only place that knows all rooms. node_view.py shows a running node to the control socket.
"""

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any

import structlog
import trio

from consensus.blocks import Block
from consensus.inputs import BlockExecuted, PeerHeightChanged, ProposalReceived, Started
from consensus.quorum import is_quorum
from consensus.replica import Replica
from consensus.validators import ValidatorSet
from prsm_node import __version__, forks, settings, trusted_block
from prsm_node import genesis as genesis_document
from prsm_node.config import Config
from prsm_node.consensus_host.answers import Answers
from prsm_node.consensus_host.author import Author
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.chain_mark import MARK, decode_mark, first_mark
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.executor import Executor
from prsm_node.consensus_host.fetcher import Fetcher
from prsm_node.consensus_host.host import ConsensusHost
from prsm_node.consensus_host.inbound import Inbound
from prsm_node.consensus_host.records import EVIDENCE, batch_body, decode_evidence, encode_evidence
from prsm_node.consensus_host.recovery import Recovered, chain_start, of_key, recover, restore_lanes, settled
from prsm_node.consensus_host.sessions import LiveSessions
from prsm_node.consensus_host.signer import Signer
from prsm_node.consensus_host.signing_journal import SigningJournal
from prsm_node.final_blocks import FinalBlocks
from prsm_node.home import Home
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.machine import Machine
from prsm_node.mempool.intake import Intake
from prsm_node.mempool.pool import Mempool
from prsm_node.network.discovery import Discovery
from prsm_node.network.gossip import Gossiper
from prsm_node.network.link import Link
from prsm_node.network.links import Links
from prsm_node.node_view import RunningNode
from prsm_node.peer_outbox import PeerOutbox
from prsm_node.storage.errors import StorageError
from prsm_node.storage.executed_block import Execution
from prsm_node.storage.snapshot_folder import SnapshotFolder
from prsm_node.storage.state import State
from prsm_node.sync.blocks import BlockSync
from prsm_node.sync.pruning import Pruning
from prsm_node.sync.snapshot_taking import SnapshotTaking
from prsm_node.synced_chain import SyncedChain
from prsm_node.transaction_routes import TransactionRoutes
from prsm_node.voting import Session, Voting
from prsm_node.wire.kinds import Kind

log = structlog.get_logger("node")

Serve = Callable[..., Awaitable[None]]
"""(view, task_status): serves commands; started() once it does."""


class Node:
    """The rooms of one node. Built whole in `run`, in the order in which they need each other."""

    def __init__(
        self,
        home: Home,
        config: Config,
        node_key: SigningKey,
        validator_key: SigningKey,
        machine: Machine | None = None,
    ) -> None:
        self.machine = machine = machine or Machine()
        self.home = home
        self.config = config
        self.genesis = genesis_document.load(home.genesis)
        self.network = self.genesis.hash
        self.node_key = node_key
        self.journal = machine.journal(home.journal)
        self.state = machine.state(
            home.state, self.genesis, lambda position: batch_body(self.journal.read(position))
        )
        member = validator_key.public in self.validators(self.state.height + 1)
        votes = config.consensus.vote and member
        self.checks = Checks(self.network)
        self.signer = Signer(self.network, validator_key, self.checks) if votes else None
        self.me = validator_key.public if votes else None
        self.started_ms = machine.now_ms()
        self.voting = Voting(self, validator_key.public, switched_on=config.consensus.vote)
        self._stop = trio.Event()
        self._final_blocks = FinalBlocks(machine, self._catches_up)
        self.on_final = self._final_blocks.on_final
        self._recovering = True
        self.trusted = trusted_block.load(home.trusted_block)
        self.forks = forks.met(home)
        self._up = False

        self.snapshots = SnapshotFolder(home.snapshots)
        self.taking = SnapshotTaking(
            self.state,
            self.snapshots,
            config.storage.snapshot_blocks,
            lambda: self.executor.mark.heads,
            machine.offload,
        )
        self.pruning = Pruning(
            self.state,
            self.journal,
            self.snapshots,
            config.storage.retain_blocks,
            config.storage.snapshot_blocks > 0,
            self._replay_from,
        )
        self.chain = SyncedChain(self, self.trusted)
        self.batches = BatchStore()
        self.verifier = machine.verifier(self.network, config.mempool.signature_workers)
        self.session = Session(validator_key, machine.entropy(16)) if votes else None
        self.links = Links(
            settings.network_config(config),
            node_key,
            self.network,
            version=__version__,
            validator_session=self.session,
            answer=self._answer,
            height=lambda: self.state.height,
            on_height=self._peer_height,
            privileged=lambda key: key in self.validators(self.state.height + 1),
            could_be_faulty=self._could_be_faulty,
            clock=machine.clock,
            now_ms=machine.now_ms,
            stopwatch=machine.stopwatch,
            records=machine.peer_records(home.peer_records),
            entropy=machine.entropy,
            transport=machine.transport,
        )
        self.outbox = PeerOutbox(self.links)
        self.gossip = Gossiper(self.links, self.links.config.have_s, machine.clock)
        self.discovery = Discovery(self.links)
        self.routes = TransactionRoutes(self.outbox, self.gossip)
        self.mempool = Mempool(
            self.me,
            LedgerOfMempool(self.state),
            self.verifier,
            lambda: self.validators(self.state.height + 1).pairs(),
            self.routes.forward,
            settings.mempool_limits(config),
            machine.clock_ms,
            lambda author: self.outbox.link_of(author) is not None,
        )
        self.intake = Intake(self.mempool, self.outbox.fault, self.outbox.checked)
        self.executor: Executor
        self.signing: SigningJournal
        self.host: ConsensusHost
        self.inbound: Inbound
        self.answers: Answers
        self.fetcher: Fetcher
        self.sync: BlockSync

    def validators(self, height: int) -> ValidatorSet:
        """Return the set of a height."""
        return self.state.roster.term(height).set

    def _could_be_faulty(self, keys: Collection[bytes]) -> bool:
        """Whether the rest of the set is a quorum still."""
        validators = self.validators(self.state.height + 1)
        return is_quorum(validators.total - sum(map(validators.power, keys)), validators.total)

    async def run(self, serve: Serve) -> None:
        """Recover, link up, take part until `stop`. `serve` is given the node as commands see it."""
        try:
            async with trio.open_nursery() as nursery:
                for damaged in self.snapshots.open():
                    log.warning("snapshot_damaged", why=damaged)
                recovered = await self._recover()
                await nursery.start(self.journal.run)
                self._build(recovered)
                nursery.start_soon(self.verifier.run)
                listen = await nursery.start(self.links.run)
                await nursery.start(self.fetcher.run)
                for task in (
                    self.host.run,
                    self.host.timers.run,
                    self.inbound.run,
                    self.executor.run,
                    self.taking.run,
                    self.pruning.run,
                    self.intake.run,
                    self.mempool.run,
                    self.sync.run,
                    self.gossip.run,
                    self.discovery.run,
                ):
                    nursery.start_soon(task)
                await nursery.start(serve, RunningNode(self, listen))
                log.info(
                    "listening",
                    addresses=list(listen),
                    network=self.genesis.network,
                    height=self.state.height,
                )
                self.host.feed(Started())
                for proposal in recovered.proposals:
                    self.host.feed(ProposalReceived(0, proposal))
                if self.signer is not None:
                    nursery.start_soon(self.author.run)
                    nursery.start_soon(self.voting.begin_when_alone, recovered.guard)
                self._up = True
                await self._stop.wait()
                await self.executor.commit()
                nursery.cancel_scope.cancel()
        finally:
            self.journal.close()
            self.state.close()

    async def _recover(self) -> Recovered:
        kept = self.state.meta(MARK)
        if kept is not None:
            mark = decode_mark(kept)
        else:
            root = self.state.state_root(0)
            assert root is not None, "the genesis has a root"
            mark = first_mark(self.network, self.genesis.time_ms, root, self.journal.begin)
        begin = mark.journal_from
        if not mark.rests_on(self.journal):
            raise StorageError(
                f"the journal in {self.home.journal} lacks what the state in {self.home.state} rests on, and "
                f"what this node signed, as an older copy does; put back the one that belongs to it, or "
                f"remove both and sync anew with another validator key"
            )
        self.executor = Executor(
            state=self.state,
            mark=mark,
            batches=self.batches,
            journal=self.journal,
            wanter=self,
            validators=self.validators,
            executed=self._executed,
            final=self._final_blocks.final,
            signed_from=lambda: (
                begin if self._recovering else self.signing.needed_from(self.host.replica.height.height)
            ),
            catches_up=self._catches_up,
            snapshots=self.taking,
        )
        found = await recover(self.journal, begin, self.batches, self.executor)
        recovered = of_key(found, self.me, self.batches, self.checks)
        if self.executor.mark.height > mark.height:
            log.info(
                "recovered",
                height=self.executor.mark.height,
                executed=self.executor.mark.height - mark.height,
            )
        return recovered

    def _build(self, recovered: Recovered) -> None:
        if self.trusted is not None:
            kept = self._digest(self.trusted.height) if self.trusted.height else self.network
            unbonding_ms = self.genesis.parameters.unbonding_ms
            height, folder = self.state.height, self.home.state.parent
            trusted_block.check(self.trusted, height, kept, unbonding_ms, self.machine.now_ms(), folder)
        mark = self.executor.mark
        start = chain_start(mark, self.state.roster, self.genesis.parameters.unbonding_ms)
        guard = settled(recovered.guard, mark.height, self._digest)
        kept = self.state.meta(EVIDENCE)
        found = list(decode_evidence(kept)) if kept is not None else []
        # What a fork proves was met as this node ended.
        proven = (piece for fork in self.forks for piece in fork.guilty.values())
        found += filter(self.checks.evidence, proven)
        rules = settings.rules(self.genesis.parameters)
        replica = Replica(self.me, rules, start, guard, evidence=found)
        restore_lanes(replica.lanes, self.batches, recovered, self.me)
        self.sync = BlockSync(self.chain, self.outbox, verify_all=self.config.sync.verify == "all")
        self.fetcher = Fetcher(
            self.outbox,
            lambda link, digest, batch: self.inbound.fetched_batch(link, digest, batch),
            lambda link, certificate: self.inbound.receive_tip_certificate(link, certificate),
            lambda link, value, answer: self.inbound.fetched_block(link, value, answer),
            self.chain.validates,
        )
        self.signing = SigningJournal(
            self.journal, self.batches, self.checks, recovered, self.me, mark.height
        )
        self.host = ConsensusHost(
            replica=replica,
            signer=self.signer,
            kept=self.signing,
            checks=self.checks,
            journal=self.journal,
            outbox=self.outbox,
            batches=self.batches,
            executor=self.executor,
            fetcher=self.fetcher,
            catch_up=self.sync.hint,
            committed=lambda height: self.answers.committed(height),
            certified=self.mempool.certified,
            keep_evidence=lambda pieces: self.state.put_meta(EVIDENCE, encode_evidence(pieces)),
            export=partial(forks.export, self.home),
            now_ms=self.machine.now_ms,
        )
        self.journal.on_new_segment = self.signing.carry_over
        self.signing.carry_over()
        self.inbound = Inbound(self.host, self.batches, self.mempool, self.outbox, self.chain.follows)
        self.answers = Answers(
            self.host,
            self.state,
            self.journal,
            self.batches,
            self.genesis.encoded,
            LiveSessions(self.network, self.node_key.public, self.session, self.outbox),
            self.executor.head_of,
            self.snapshots,
            self.machine.offload,
        )
        self.author = Author(self.host, self.mempool, self.machine.clock_ms)
        self.mempool.on_ready = self.author.wake
        self._recovering = False
        for name, handler in self.inbound.handlers().items():
            self.links.handle(Kind[name], _by_number(handler))
        self.routes.take_with(self.intake, self.links)
        self.links.watch(self._link_up)

    def _link_up(self, link: Link) -> None:
        if link.validator is not None:
            self.host.casting.link_up(link.number)
            self.mempool.author_linked(link.validator)

    def _replay_from(self) -> int:
        """Where a restart would begin to read the journal, by what is on the disk."""
        kept = self.state.durable_meta(MARK)
        return decode_mark(kept).journal_from if kept is not None else self.journal.begin

    def _digest(self, height: int) -> bytes | None:
        stored = self.state.block(height)
        return stored.record.digest if stored is not None else None

    def batch(self, author: bytes, digest: bytes, link: int) -> None:
        """Ask peers for a batch (what the executor needs of the fetcher)."""
        self.fetcher.batch(author, digest, link)

    def lacking(self, block: Block) -> None:
        """Ask peers for all batches of a decided block (what the executor needs of sync)."""
        self.sync.lack(block)

    def _executed(self, happened: BlockExecuted, execution: Execution) -> None:
        if self._recovering:
            return
        self.mempool.executed(happened.height, ((b"", s, nonce - 1) for s, nonce in execution.nonces.items()))
        self.mempool.ahead(execution.ahead)
        self.host.feed(happened)
        self.author.wake()
        self.chain.grown()
        self.taking.grown()

    def _catches_up(self) -> bool:
        return not self._recovering and self.sync.passing

    def stop(self) -> bool:
        """Begin a clean end and return at once; False where one is under way, or the start still is."""
        begins = self._up and not self._stop.is_set()
        self._stop.set()
        return begins

    def _peer_height(self, link: Link, height: int) -> None:
        if height > self.state.height + 1:
            self.sync.wake()
        if link.validator is not None:
            self.host.feed(PeerHeightChanged(link.validator, height))

    async def _answer(self, link: Link, wanted: Any) -> bytes | None:
        return await self.answers.answer(link.number, wanted)


class LedgerOfMempool:
    """What the mempool asks of the state."""

    def __init__(self, state: State) -> None:
        self.account = state.account
        self.fee_min = state.parameters.fee_min
        self.nonce_window = state.parameters.nonce_window


def _by_number(handler: Callable[[int, Any], None]) -> Callable[[Link, list[Any], list[bytes]], None]:
    return lambda link, messages, raw: handler(link.number, messages)
