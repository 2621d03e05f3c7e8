"""A running node as its control socket shows it: how it stands, its peers and validators, what is proven."""

import os
from typing import TYPE_CHECKING

import msgspec

from consensus.evidence import Offence, offence
from consensus.quorum import is_quorum
from prsm_node import __version__
from prsm_node.chain_view import ChainView
from prsm_node.control.views import (
    BanView,
    EvidenceView,
    ForkView,
    NetworkView,
    PeerView,
    ProvenView,
    StatusView,
    SyncView,
    ValidatorView,
)
from prsm_node.identity.peer_ids import peer_id
from prsm_node.invite import Invite, encode
from prsm_node.node_counters import counters
from prsm_node.progress_bar import bar
from prsm_node.submissions import Submissions

if TYPE_CHECKING:
    from prsm_node.node import Node

STANDS_MS = 3_000
"""A link that is made anew, and a round or two, are there within this."""
INVITE_ADDRESSES = 4


class RunningNode:
    """The NodeView of a Node (control/node.py). Called on the loop only."""

    def __init__(self, node: "Node", listen: tuple[str, ...]) -> None:
        self._node = node
        self.listen = list(listen)
        """The addresses bound."""
        chain, submissions = ChainView(node), Submissions(node)
        self.block, self.transaction, self.history = chain.block, chain.transaction, chain.history
        self.account, self.account_proof = chain.account, chain.account_proof
        self.submit, self.on_final = submissions.submit, submissions.on_final
        self._finality_ms = submissions.percentiles

    def status(self) -> StatusView:
        node, state = self._node, self._node.state
        p50, p99 = self._finality_ms()
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
            stands_ms=self._stands_ms(is_quorum(reachable, validators.total)),
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
        spent_s = self._node.links.conduct.cpu.spent_s
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
                cpu_s=sum(map(spent_s, filter(None, (view.node_key, view.validator)))),
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

    def counters(self) -> dict[str, int | float]:
        return counters(self._node)

    def network(self) -> NetworkView:
        genesis = self._node.genesis
        parameters: dict[str, int | str] = msgspec.to_builtins(genesis.parameters)
        return NetworkView(genesis.hash, genesis.network, genesis.parameters.fee_min, parameters)

    async def invite(self) -> str:
        state = self._node.state
        addresses = tuple(self._node.links.advertised[:INVITE_ADDRESSES])
        return encode(Invite(self._node.network, state.height, state.digest, state.time_ms, addresses))

    def stop(self) -> None:
        self._node.stop()
