"""A running node as its control socket shows it: reads of state, links and mempool, and submission."""

import os
from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import trio

from consensus.certificates import Certificate
from consensus.evidence import Offence, offence
from consensus.quorum import chain_strength
from prsm_node import __version__
from prsm_node.account_proof import Evidence
from prsm_node.consensus_host.executor import Final
from prsm_node.control.views import (
    AccountView,
    BanView,
    BlockView,
    EvidenceView,
    FinalBlock,
    ForkView,
    HistoryView,
    NetworkView,
    PeerView,
    ProvenView,
    StatusView,
    StrengthView,
    SyncView,
    TransactionView,
    ValidatorView,
)
from prsm_node.identity.peer_ids import peer_id
from prsm_node.invite import Invite, encode
from prsm_node.ledger.outcomes import FIRST_UNCHARGED, Outcome
from prsm_node.mempool.admission import Reason
from prsm_node.progress_bar import bar
from prsm_node.storage import set_changes
from prsm_node.storage.blocks import StoredBlock
from prsm_node.storage.history import FoundTransaction, UnknownPosition

if TYPE_CHECKING:
    from prsm_node.node import Node

FINALITY_SAMPLES = 512
# Submissions whose finality is timed: what is not final in this many later ones is not counted.
TIMED_MAX = 8_192
STRENGTH_AHEAD = 4
"""Later certificates that strengthen a block: those of so many heights are read."""
STANDS_MS = 3_000
"""A link that is made anew, and a round or two, are there within this."""
INVITE_ADDRESSES = 4
PROOF_S = 20.0
"""Longest wait for the header that names a root: two blocks, of which at rest one is a heartbeat."""


class RunningNode:
    """The NodeView of a Node (control/methods.py). Called on the loop only."""

    def __init__(self, node: "Node", listen: tuple[str, ...]) -> None:
        self._node = node
        self.listen = list(listen)
        """The addresses bound."""
        self._submitted: OrderedDict[bytes, float] = OrderedDict()
        self._latencies: deque[float] = deque(maxlen=FINALITY_SAMPLES)
        node.on_final(self._time_finality)

    # --- what stands ------------------------------------------------------------------------------

    def status(self) -> StatusView:
        node, state = self._node, self._node.state
        p50, p99 = self._percentiles()
        voting = node.voting.now
        why = "" if voting else node.voting.not_because
        validators = node.validators(state.height + 1)
        reachable = sum(
            power for key, power in validators.pairs() if (voting if key == node.me else self._linked(key))
        )
        return StatusView(
            node_id=peer_id(node.node_key.public),
            name=node.config.node.name,
            network=node.network,
            version=__version__,
            height=state.height,
            block_hash=state.digest,
            state_root=state.state_root(state.height) or b"",
            last_block_time_ms=state.time_ms if state.height else 0,
            peers=len(node.outbox.links()),
            validators=len(validators),
            voting=voting,
            not_voting_because=why or ("" if voting else "waiting to hear whether this key votes elsewhere"),
            syncing=node.sync.syncing,
            sync_target=max(node.sync.target, state.height),
            sync=self._sync(),
            mempool=node.mempool.stats().items,
            finality_p50_ms=p50,
            finality_p99_ms=p99,
            listen=self.listen,
            pid=os.getpid(),
            started_ms=node.started_ms,
            stands_ms=self._stands_ms(3 * reachable > 2 * validators.total),
            reachable_power=reachable,
            total_power=validators.total,
            first_block=state.first_block,
        )

    def _sync(self) -> SyncView | None:
        at = self._node.sync.progress()
        if at is None or not self._node.sync.syncing:
            return None
        return SyncView(at.phase, at.done, at.total, at.per_second, at.seconds_left, at.peers)

    def progress(self) -> str | None:
        """Return how far catching up is as a line for a terminal, None where there is nothing to tell."""
        at = self._sync()
        return None if at is None else bar(at.done / max(1, at.total), at.sentence())

    def _linked(self, validator: bytes) -> bool:
        return self._node.outbox.sessions(validator, 0) > 0

    def _stands_ms(self, quorum: bool) -> int:
        """Say for how long no block came. Where a validator lacks a quorum's links none will; others have
        links to some validators only, and at rest blocks are a heartbeat apart."""
        node = self._node
        since_ms = max(node.state.time_ms if node.state.height else 0, node.started_ms)
        silent_ms = node.machine.now_ms() - since_ms
        due_ms = STANDS_MS if node.me is not None and not quorum else 3 * node.genesis.parameters.heartbeat_ms
        return silent_ms if silent_ms > due_ms else 0

    def peers(self) -> list[PeerView]:
        now_s, now_ms = self._node.links.clock(), self._node.machine.now_ms()
        return [
            PeerView(
                node_id=view.node_id,
                # What a peer says of itself goes to terminals: nothing that steers one.
                address=next((said for said in view.listen if said.isprintable()), view.address),
                outbound=view.outbound,
                validator=view.validator,
                height=view.height,
                round_trip_ms=view.round_trip_ms,
                score=view.score,
                connected_since_ms=int(now_ms - (now_s - view.since) * 1000),
                bytes_in=view.bytes_in,
                bytes_out=view.bytes_out,
                cpu_s=self._node.links.conduct.cpu.spent_s(view.node_key),
            )
            for view in self._node.links.views()
        ]

    def bans(self) -> list[BanView]:
        return [
            BanView(ban.who, ban.why, ban.since_ms, ban.until_ms, ban.offences)
            for ban in self._node.links.conduct.banned()
        ]

    def unban(self, who: str) -> bool:
        return self._node.links.conduct.unban(who)

    def validators(self) -> list[ValidatorView]:
        node = self._node
        return [
            ValidatorView(
                key=validator.key,
                name=validator.name,
                power=validator.power,
                this_node=validator.key == node.me,
                connected=validator.key == node.me or self._linked(validator.key),
            )
            for validator in node.state.validators(node.state.height + 1)
        ]

    def evidence(self) -> EvidenceView:
        node, roster = self._node, self._node.state.roster
        names = {validator.key: validator.name for validator in node.genesis.validators}
        proven: list[tuple[Offence, int | None, bool]] = [
            (found.offence, found.block, found.jailed) for found in roster.convictions
        ]
        proven += [(offence(piece), None, False) for piece in node.host.replica.evidence.pieces()]
        return EvidenceView(
            evidence=[
                ProvenView(
                    key=done.guilty,
                    name=names.get(done.guilty, ""),
                    kind=done.kind,
                    height=done.height,
                    round=done.round,
                    lane=done.author,
                    sequence=done.sequence,
                    told=str(done),
                    block=block,
                    jailed=jailed,
                )
                for done, block, jailed in proven
            ],
            forks=[ForkView(fork.height, str(fork.path), list(fork.guilty)) for fork in node.forks],
        )

    def network(self) -> NetworkView:
        genesis = self._node.genesis
        parameters: dict[str, int | str] = msgspec.to_builtins(genesis.parameters)
        return NetworkView(genesis.hash, genesis.network, genesis.parameters.fee_min, parameters)

    def counters(self) -> dict[str, int | float]:
        node = self._node
        mempool = node.mempool.stats()
        journal = node.journal.stats()
        verifier = node.verifier.stats()
        counted: dict[str, int | float] = {
            f"links.{name}": count for name, count in node.links.stats().items()
        }
        counted |= {f"consensus.{name}": count for name, count in node.host.counters.items()}
        counted |= {f"consensus.{name}": count for name, count in node.inbound.counters.items()}
        counted |= {f"execution.{name}": count for name, count in node.executor.counters.items()}
        counted |= {f"mempool.{name}": count for name, count in mempool.admissions.items()}
        counted |= {
            "consensus.evidence": len(node.host.replica.evidence.pieces()),
            "mempool.items": mempool.items,
            "mempool.bytes": mempool.bytes,
            "mempool.handed_over": mempool.handed_over,
            "mempool.intake_dropped": node.intake.dropped,
            "journal.records": journal.records,
            "journal.writes": journal.writes,
            "journal.queued_bytes": journal.queued_bytes,
            "journal.size_bytes": journal.size_bytes,
            "verification.checked": verifier.checked,
            "verification.inline": verifier.inline,
            "verification.restarts": verifier.restarts,
            "ledger.height": node.state.height,
            "ledger.durable_height": node.state.durable_height,
            "ledger.accounts": node.state.accounts,
            "ledger.first_block": node.state.first_block,
            **{f"snapshots.{name}": count for name, count in node.taking.counters.items()},
        }
        return counted

    # --- look-ups ---------------------------------------------------------------------------------

    async def block(self, height: int) -> BlockView | None:
        state = self._node.state
        stored = state.block(height) if height > 0 else None
        if stored is None:
            return None
        from hashlib import sha256

        record = stored.record
        hashes = [
            sha256(raw).digest()
            for raw, outcome in zip(
                state.transactions.raw(height), state.transactions.outcomes(height), strict=True
            )
            if outcome < FIRST_UNCHARGED
        ]
        return BlockView(
            height=height,
            hash=record.digest,
            state_root=record.state_root,
            proposer=record.block.proposer,
            round=stored.commit.round,
            time_ms=record.block.time_ms,
            transactions=hashes,
            strength=self._strength(height),
        )

    def _strength(self, height: int) -> StrengthView:
        """Return the strength of a block as its own and the next certificates give it, from its parent on."""
        node = self._node
        heights = range(height, min(height + STRENGTH_AHEAD, node.state.height) + 1)
        stored = {h: block for h in heights if (block := node.state.block(h)) is not None}
        powers = {h: node.validators(h).powers for h in heights}
        commits = {h: [_marks(block.commit)] for h, block in stored.items()}
        tolerated = chain_strength(height - 1, height, powers, commits)
        return StrengthView(tolerated, node.validators(height).total)

    async def transaction(self, digest: bytes) -> TransactionView | None:
        found = self._node.state.transactions.find(digest)
        if found is not None:
            return TransactionView(
                hash=digest,
                height=found.height,
                block_hash=found.block_digest,
                index=found.index,
                outcome=_outcome(found.outcome),
                raw=found.raw,
            )
        pending = self._node.mempool.pending(digest)
        if pending is None:
            return None
        return TransactionView(digest, None, None, None, None, pending)

    async def account(self, address: bytes) -> AccountView:
        account = self._node.state.account(address)
        nonce = account.nonce if account is not None else 0
        balance = account.balance if account is not None else 0
        return AccountView(address, balance, nonce, self._node.mempool.next_nonce(address, nonce))

    async def account_proof(self, address: bytes) -> Evidence | None:
        node, state = self._node, self._node.state
        root, proof = state.state_root(state.height), state.proof(address)
        if proof is None:
            return None
        # Below its first block a node knows no header.
        height = max(state.height, state.first_block)
        with trio.fail_after(PROOF_S):
            # At rest the last header names the root that stands; under load the one after the next will.
            while (stored := await self._executed_block(height)).record.block.state_root != root:
                height += 1
        below = state.block(height - 1)
        return Evidence(
            account=proof,
            block=stored.record.block,
            certificate=stored.commit,
            validators=node.validators(height).pairs(),
            next_validators=node.validators(height + 1).pairs(),
            parent=below.record.block if below is not None else None,
            changes=set_changes.kept(state, below=height),
        )

    async def _executed_block(self, height: int) -> StoredBlock:
        await self._node.chain.executed(height)
        stored = self._node.state.block(height)
        assert stored is not None, f"block {height} is executed and not there"
        return stored

    async def history(self, address: bytes, limit: int, before: int | None) -> list[HistoryView]:
        try:
            found = self._node.state.transactions.history(address, limit, before)
        except UnknownPosition:
            return []
        return [_history(item, address) for item in found]

    # --- submission and finality ------------------------------------------------------------------

    async def submit(self, transactions: list[bytes]) -> list[tuple[bool, str]]:
        at = self._node.machine.clock()
        answers = []
        for admission in await self._node.mempool.submit(transactions, 0):
            if admission.accepted:
                self._submitted[admission.hash] = at
            accepted = admission.accepted or admission.reason is Reason.DUPLICATE
            answers.append((accepted, "" if accepted else admission.reason.name.lower()))
        while len(self._submitted) > TIMED_MAX:
            self._submitted.popitem(last=False)
        return answers

    def on_final(self, notice: Callable[[FinalBlock], None]) -> Callable[[], None]:
        def told(final: Final) -> None:
            executed = final.execution.executed
            receipts = [
                (digest, outcome)
                for digest, outcome in zip(executed.hashes, executed.outcomes, strict=True)
                if outcome < FIRST_UNCHARGED
            ]
            notice(
                FinalBlock(
                    height=final.block.height,
                    block_hash=final.digest,
                    time_ms=final.block.time_ms,
                    transactions=[digest for digest, _ in receipts],
                    failed=[digest for digest, outcome in receipts if outcome != Outcome.EXECUTED],
                )
            )

        return self._node.on_final(told)

    def _time_finality(self, final: Final) -> None:
        now = self._node.machine.clock()
        for digest in final.execution.executed.hashes:
            at = self._submitted.pop(digest, None)
            if at is not None:
                self._latencies.append((now - at) * 1000)

    def _percentiles(self) -> tuple[float | None, float | None]:
        ordered: list[float] = []
        for latency in self._latencies:
            insort(ordered, latency)
        if not ordered:
            return None, None
        last = len(ordered) - 1
        return ordered[last // 2], ordered[min(last, round(last * 0.99))]

    async def invite(self) -> str:
        state = self._node.state
        addresses = tuple(self._node.links.advertised[:INVITE_ADDRESSES])
        return encode(Invite(self._node.network, state.height, state.digest, state.time_ms, addresses))

    def stop(self) -> None:
        self._node.stop()


def _marks(certificate: Certificate) -> dict[bytes, int]:
    return {vote.voter: vote.mark for vote in certificate.votes}


def _outcome(outcome: Outcome) -> str:
    return outcome.name.lower()


def _history(item: FoundTransaction, address: bytes) -> HistoryView:
    transaction = item.transaction
    mine = transaction.sender == address
    return HistoryView(
        position=item.position,
        hash=item.hash,
        height=item.height,
        time_ms=item.time_ms,
        sender=transaction.sender,
        nonce=transaction.nonce,
        fee=transaction.fee,
        transfers=[(o.to, o.amount) for o in transaction.operations if mine or o.to == address],
        memo=transaction.memo,
        outcome=_outcome(item.outcome),
    )
