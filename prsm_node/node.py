"""One node: each room built from the rooms below it, then owned until one of them ends or the operator stops
it.

The only place that knows all rooms. node_view.py shows a running node to the control socket.
"""

import gc
import secrets
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import structlog
import trio

from consensus.blocks import Block
from consensus.certificates import Certificate
from consensus.dissemination.batches import batch_digest
from consensus.guard import Guard
from consensus.inputs import BlockExecuted, PeerHeightChanged, ProposalReceived, Started, VotingAllowed
from consensus.replica import Replica
from consensus.rules import Rules
from consensus.validators import ValidatorSet
from prsm_node import __version__, daemon_lock, trusted_block
from prsm_node import genesis as genesis_document
from prsm_node.config import Config
from prsm_node.consensus_host.answers import Answers
from prsm_node.consensus_host.author import Author
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.executor import MARK, Executor, Final, decode_mark, first_mark
from prsm_node.consensus_host.fetcher import Fetcher
from prsm_node.consensus_host.host import ConsensusHost
from prsm_node.consensus_host.inbound import Inbound
from prsm_node.consensus_host.records import batch_body
from prsm_node.consensus_host.recovery import Recovered, chain_start, recover, restore_lanes, settled
from prsm_node.consensus_host.sessions import LiveSessions
from prsm_node.consensus_host.signer import Signer
from prsm_node.consensus_host.twin import TwinCheck
from prsm_node.control import methods, server
from prsm_node.home import Home
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.identity.keystore import KeyKind, unlock
from prsm_node.identity.passphrases import Passphrase
from prsm_node.ledger.parameters import Parameters
from prsm_node.ledger.transactions import TRANSACTION_BYTES_MAX
from prsm_node.mempool.admission import Limits
from prsm_node.mempool.intake import Intake
from prsm_node.mempool.pool import Mempool
from prsm_node.network.config import NetworkConfig
from prsm_node.network.discovery import Discovery
from prsm_node.network.gossip import Gossiper
from prsm_node.network.link import Link
from prsm_node.network.links import Links
from prsm_node.node_view import RunningNode
from prsm_node.observability import logs
from prsm_node.peer_outbox import PeerOutbox
from prsm_node.storage.errors import StorageError
from prsm_node.storage.executed_block import Execution
from prsm_node.storage.journal import Journal
from prsm_node.storage.state import State
from prsm_node.sync.blocks import BlockSync
from prsm_node.verification.worker_verifier import WorkerVerifier
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import UNREADABLE, Batch, Committed

log = structlog.get_logger("node")

SWITCH_INTERVAL_S = 0.0005
# A thousand transactions in flight are tens of thousands of objects that soon die by reference count alone.
GC_THRESHOLDS = (50_000, 20, 50)
# A peer with a rival chain is asked and answers again: one line says as much as a hundred.
REFUSED_EVERY_S = 60.0
TRANSACTIONS = 1
"""The gossip topic of transactions on their way to a lane that their node has no link to."""
_raws = msgspec.msgpack.Decoder(list[Annotated[bytes, msgspec.Meta(max_length=TRANSACTION_BYTES_MAX)]])


def now_ms() -> int:
    """The host's clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


async def run(home: Home, config: Config, passphrase: Passphrase) -> None:
    """Run the node of a home until SIGINT, SIGTERM or `stop`. Raise OperatorError for what an operator can
    mend."""
    # The journal's thread and the commits' need the interpreter for moments; the default of 5 ms lets a busy
    # loop hold each of them up that long, and each commit hold up the loop.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with daemon_lock.held(home) as lock, closing(logs.configure(config.log, home.log)):
        node_key = unlock(home.node_key, KeyKind.NODE, passphrase)
        validator_key = unlock(home.validator_key, KeyKind.VALIDATOR, passphrase)
        node = Node(home, config, node_key, validator_key)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_on_signal, node, nursery.cancel_scope)
            await node.run(lock.announce)
            nursery.cancel_scope.cancel()


async def _end_on_signal(node: "Node", scope: trio.CancelScope) -> None:
    """End in order at the first signal, at once at the second: the journal has all that was promised."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            if not node.stop():
                scope.cancel()


class Session:
    """The validator that this node runs, for the links' session proofs. A session is known by its node's key,
    which outlives a restart: a new run replaces the links of the one before (PROTOCOL, Twin)."""

    def __init__(self, key: SigningKey, session: bytes) -> None:
        self.key = key.public
        self.session = session
        self._key = key

    def sign_session(self, message: bytes) -> bytes:
        return self._key.sign(message)


class Node:
    """The rooms of one node. Built whole in `run`, in the order in which they need each other."""

    def __init__(self, home: Home, config: Config, node_key: SigningKey, validator_key: SigningKey) -> None:
        self.home = home
        self.config = config
        self.genesis = genesis_document.load(home.genesis)
        self.network = self.genesis.hash
        self.node_key = node_key
        members = {validator.key for validator in self.genesis.validators}
        votes = config.consensus.vote and validator_key.public in members
        self.checks = Checks(self.network)
        self.signer = Signer(self.network, validator_key, self.checks) if votes else None
        self.me = validator_key.public if votes else None
        self.started_ms = now_ms()
        self.not_voting_because = "" if config.consensus.vote else "consensus.vote is off"
        if validator_key.public not in members:
            self.not_voting_because = "this node's validator key is not in the set"
        self._stop = trio.Event()
        self._told: list[Callable[[Final], None]] = []
        self._heights = trio.Event()
        self._recovering = True
        self.trusted = trusted_block.load(home.trusted_block)
        self._refused_at_s = -REFUSED_EVERY_S
        self._up = False

        self.journal = Journal.open(home.journal)
        self.state = State.open(
            home.state, self.genesis, lambda position: batch_body(self.journal.read(position))
        )
        self.batches = BatchStore()
        self.verifier = WorkerVerifier(self.network, config.mempool.signature_workers)
        self.session = Session(validator_key, secrets.token_bytes(16)) if votes else None
        self.links = Links(
            network_config(config),
            node_key,
            self.network,
            version=__version__,
            validator_session=self.session,
            answer=self._answer,
            height=lambda: self.state.height,
            on_height=self._peer_height,
            privileged=lambda key: key in members,
        )
        self.outbox = PeerOutbox(self.links)
        self.gossip = Gossiper(self.links, self.links.config.have_s)
        self.discovery = Discovery(self.links)
        self.mempool = Mempool(
            self.me,
            LedgerOfMempool(self.state),
            self.verifier,
            lambda: self.validators(self.state.height + 1).pairs(),
            self._forward,
            Limits(items_max=config.mempool.transactions_max, bytes_max=config.mempool.bytes_max),
            now_ms,
        )
        self.intake = Intake(self.mempool, self.outbox.fault)
        self.executor: Executor
        self.host: ConsensusHost
        self.inbound: Inbound
        self.answers: Answers
        self.fetcher: Fetcher
        self.sync: BlockSync

    def validators(self, height: int) -> ValidatorSet:
        """Return the set of a height."""
        return _validator_set(tuple((v.key, v.power) for v in self.state.validators(height)))

    async def run(self, announce: Callable[[list[str], datetime], None]) -> None:
        """Recover, link up, take part. `announce` is told the addresses bound, once commands are served."""
        try:
            async with trio.open_nursery() as nursery:
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
                    self.intake.run,
                    self.mempool.run,
                    self.sync.run,
                    self.gossip.run,
                    self.discovery.run,
                ):
                    nursery.start_soon(task)
                view = RunningNode(self, listen)
                await nursery.start(partial(server.serve, self.home.socket, methods.handlers(view)))
                announce(list(listen), datetime.now(UTC))
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
                    nursery.start_soon(self._vote_after_twin_check, recovered.guard)
                # What start-up made, libp2p's 80 MB above all, is never garbage: collections pass it by.
                gc.collect()
                gc.freeze()
                gc.set_threshold(*GC_THRESHOLDS)
                self._up = True
                await self._stop.wait()
                await self.executor.commit()
                nursery.cancel_scope.cancel()
        finally:
            self.state.close()

    # --- building ---------------------------------------------------------------------------------

    async def _recover(self) -> Recovered:
        kept = self.state.meta(MARK)
        if kept is not None:
            mark = decode_mark(kept)
        else:
            root = self.state.state_root(0)
            assert root is not None, "the genesis has a root"
            mark = first_mark(self.network, self.genesis.time_ms, root, self.journal.begin)
        begin = mark.journal_from
        if not self.journal.begin <= begin <= self.journal.end:
            raise StorageError(
                f"the journal in {self.home.journal} lacks what the state in {self.home.state} rests on, and "
                f"what this node signed; restore it, or remove both and sync anew with another validator key"
            )
        self.executor = Executor(
            state=self.state,
            mark=mark,
            batches=self.batches,
            journal=self.journal,
            wanter=self,
            validators=self.validators,
            executed=self._executed,
            final=self._final,
            signed_from=lambda: begin if self._recovering else self.host.signed_from(),
        )
        recovered = await recover(self.journal, begin, self.batches, self.executor)
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
            trusted_block.check(self.trusted, height, kept, unbonding_ms, now_ms(), folder)
        mark = self.executor.mark
        start = chain_start(mark, self.validators(mark.height + 1))
        guard = settled(recovered.guard, mark.height, self._digest)
        replica = Replica(self.me, rules(self.genesis.parameters), start, guard)
        restore_lanes(replica.lanes, self.batches, recovered, self.me)
        self.sync = BlockSync(
            self, self.outbox, self._check_synced, verify_all=self.config.sync.verify == "all"
        )
        self.fetcher = Fetcher(
            self.outbox,
            lambda link, digest, batch: self.inbound.fetched_batch(link, digest, batch),
            lambda link, certificate: self.inbound.receive_tip_certificate(link, certificate),
            lambda link, value, answer: self.inbound.fetched_block(link, value, answer),
            self.validates,
        )
        self.host = ConsensusHost(
            replica=replica,
            signer=self.signer,
            guard=recovered.guard,
            guard_position=recovered.guard_position,
            checks=self.checks,
            journal=self.journal,
            outbox=self.outbox,
            batches=self.batches,
            executor=self.executor,
            fetcher=self.fetcher,
            catch_up=self.sync.hint,
            committed=lambda height: self.answers.committed(height),
            certified=self.mempool.certified,
            export=self._export,
            now_ms=now_ms,
        )
        self.inbound = Inbound(self.host, self.batches, self.mempool, self.outbox, self.trusts)
        self.answers = Answers(
            self.host,
            self.inbound,
            self.state,
            self.journal,
            self.batches,
            self.genesis.encoded,
            LiveSessions(self.network, self.node_key.public, self.session, self.outbox),
        )
        self.author = Author(self.host, self.mempool, now_ms)
        self.mempool.on_ready = self.author.wake
        self._recovering = False
        for name, handler in self.inbound.handlers().items():
            self.links.handle(Kind[name], _by_number(handler))
        self.links.handle(Kind.TRANSACTIONS, _by_number(self.intake.take))
        self.gossip.subscribe(TRANSACTIONS, self._gossiped)

    def _export(self, proof: tuple[Certificate, ...]) -> Path:
        """Write the certificates that prove a fork beside the data, for other operators to check."""
        path = self.home.path / f"fork-at-{proof[0].height}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(proof), indent=2))
        return path

    def _digest(self, height: int) -> bytes | None:
        stored = self.state.block(height)
        return stored.record.digest if stored is not None else None

    # --- what rooms tell each other ---------------------------------------------------------------

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
        self.host.feed(happened)
        self.author.wake()
        self._heights.set()
        self._heights = trio.Event()

    def _final(self, final: Final) -> None:
        block = final.block
        log.info(
            "block",
            height=block.height,
            transactions=final.execution.transactions,
            round=final.certificate.round,
            hash=final.digest.hex()[:16],
            late_ms=max(0, now_ms() - block.time_ms),
        )
        for told in list(self._told):
            told(final)

    def on_final(self, told: Callable[[Final], None]) -> Callable[[], None]:
        """Call `told` with each block as it becomes final here; return what ends that."""
        self._told.append(told)
        return lambda: self._told.remove(told)

    def stop(self) -> bool:
        """Begin a clean end and return at once; False where one is under way, or the start still is."""
        begins = self._up and not self._stop.is_set()
        self._stop.set()
        return begins

    def _forward(self, author: bytes, raws: list[bytes]) -> bool:
        link = self.outbox.link_of(author)
        if link is None:
            self.gossip.publish(TRANSACTIONS, msgspec.msgpack.encode(raws))
            return True
        for raw in raws:
            self.outbox.send(link, Kind.TRANSACTIONS, msgspec.msgpack.encode(raw))
        return True

    def _peer_height(self, link: Link, height: int) -> None:
        if height > self.state.height + 1:
            self.sync.wake()
        if link.validator is not None:
            self.host.feed(PeerHeightChanged(link.validator, height))

    def _gossiped(self, link: Link, body: bytes) -> bool | None:
        """Take transactions whose lane's author their node has no link to. They go on once they are admitted
        here: who hands on a forged one answers for it."""
        try:
            raws = _raws.decode(body)
        except UNREADABLE:
            return False
        self.intake.take(link.number, raws, lambda: self.gossip.hand_on(TRANSACTIONS, body, link))
        return None

    async def _answer(self, link: Link, wanted: Any) -> bytes | None:
        return await self.answers.answer(link.number, wanted)

    async def _vote_after_twin_check(self, guard: Guard) -> None:
        assert self.me is not None
        twin = TwinCheck(
            network=self.network,
            node_key=self.node_key.public,
            me=self.me,
            guard=guard,
            checks=self.checks,
            outbox=self.outbox,
            validators=lambda: self.validators(self.state.height + 1),
            authored=lambda: self.host.replica.lanes.own_head.sequence,
            entropy=secrets.token_bytes,
        )
        reason = await twin.until_alone(self.config.consensus.twin_wait_s, self._silent)
        self.not_voting_because = reason
        if reason:
            self.host.not_voting(reason)
            return
        self.host.feed(VotingAllowed())
        self.author.wake()

    def _silent(self, reason: str) -> None:
        """Say why this node does not vote for now."""
        self.not_voting_because = reason
        log.warning("not_voting", reason=reason)

    # --- what sync needs --------------------------------------------------------------------------

    def next_height(self) -> int:
        return self.host.replica.height.height

    def executed_height(self) -> int:
        return self.state.height

    async def executed(self, height: int) -> None:
        while self.state.height < height:
            await self._heights.wait()

    def take(self, link: int, committed: Committed) -> bool:
        return self.inbound.receive_committed(link, committed)

    def trusts(self, block: Block) -> bool:
        """Whether a block may be of the chain that this home's invite vouches for."""
        if self.trusted is None:
            return True
        why = self.trusted.contradicts(block)
        if not why and block.height == self.state.height + 1:
            why = self.trusted.off_the_way(block, self.state.digest)
        if why and trio.current_time() - self._refused_at_s >= REFUSED_EVERY_S:
            self._refused_at_s = trio.current_time()
            log.error("untrusted_chain", why=why)
        return not why

    def decided(self, link: int, committed: Committed) -> bool:
        return self.inbound.decided(link, committed)

    def store(self, batch: Batch) -> bool:
        if not self.checks.batch(batch.header):
            return False
        self.batches.put(batch.header, batch.body, checked=False)
        return True

    def validates(self, link: int) -> bool:
        key = self.outbox.validator_of(link)
        return key is not None and self.validators(self.state.height + 1).power(key) > 0

    def heights(self) -> dict[int, int]:
        return self.outbox.heights()

    async def _check_synced(self, link: int, batch: Batch) -> bool:
        return await self.inbound.fetched_batch(link, batch_digest(batch.header), batch)


class LedgerOfMempool:
    """What the mempool asks of the state."""

    def __init__(self, state: State) -> None:
        self.account = state.account
        self.fee_min = state.parameters.fee_min
        self.nonce_window = state.parameters.nonce_window


def network_config(config: Config) -> NetworkConfig:
    """Fill the network room's settings from the operator's."""
    family = "ip6" if ":" in config.network.host else "ip4"
    return NetworkConfig(
        listen=(f"/{family}/{config.network.host}/tcp/{config.network.port}",),
        advertise=config.network.advertise,
        bootstrap=config.network.bootstrap,
        mdns=config.network.mdns,
        dht=config.network.dht,
        exchange_peers=config.network.peer_exchange,
        links_max=config.network.peers_max,
        heartbeat_s=config.network.heartbeat_s,
    )


def rules(parameters: Parameters) -> Rules:
    """Return the replica's rules from the genesis."""
    return Rules(
        window=parameters.lane_window,
        advance_max=parameters.lane_step,
        heartbeat_ms=parameters.heartbeat_ms,
        precision_ms=parameters.clock_precision_ms,
        delay_ms=parameters.message_delay_ms,
    )


_sets: dict[tuple[tuple[bytes, int], ...], ValidatorSet] = {}


def _validator_set(pairs: tuple[tuple[bytes, int], ...]) -> ValidatorSet:
    """Sets are equal for long stretches of heights: one object for each."""
    found = _sets.get(pairs)
    if found is None:
        if len(_sets) >= 16:
            _sets.clear()
        found = _sets[pairs] = ValidatorSet.of(pairs)
    return found


def _by_number(handler: Callable[[int, Any], None]) -> Callable[[Link, list[Any], list[bytes]], None]:
    return lambda link, messages, raw: handler(link.number, messages)
