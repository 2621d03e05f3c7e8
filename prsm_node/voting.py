"""When this node votes: with a key of the set, and once nobody else signs with it (PROTOCOL, Twin)."""

from typing import TYPE_CHECKING

import structlog

from consensus.guard import Guard
from consensus.inputs import VotingAllowed
from prsm_node.consensus_host.twin import TwinCheck
from prsm_node.identity.ed25519 import SigningKey

if TYPE_CHECKING:
    from prsm_node.node import Node

log = structlog.get_logger("node")


class Session:
    """The validator that this node runs, for the links' session proofs. A session is known by its node's key,
    which outlives a restart: a new run replaces the links of the one before (PROTOCOL, Twin)."""

    def __init__(self, key: SigningKey, session: bytes) -> None:
        self.key = key.public
        self.session = session
        self._key = key

    def sign_session(self, message: bytes) -> bytes:
        return self._key.sign(message)


class Voting:
    """Args:
    key: this node's validator key, whether or not it is in the set.
    switched_on: what the operator chose.
    """

    def __init__(self, node: "Node", key: bytes, *, switched_on: bool) -> None:
        self._node = node
        self._key = key
        self._switched_on = switched_on
        self._silenced = ""

    @property
    def now(self) -> bool:
        """Whether this node votes at the height to come."""
        host = self._node.host
        return host.replica.voting and host.replica.height.me is not None and not host.stopped_because

    @property
    def not_because(self) -> str:
        """Why this node does not vote, as a sentence; empty where it does or soon may."""
        host, roster = self._node.host, self._node.state.roster
        if not self._switched_on:
            return "consensus.vote is off"
        if self._key in host.replica.height.validators:
            return host.stopped_because or self._silenced
        found = roster.conviction(self._key)
        if found is not None and found.jailed:
            return f"jailed: this key {found.offence}, as block {found.block} proves"
        return "this node's validator key is not in the set"

    async def begin_when_alone(self, guard: Guard) -> None:
        """Have the replica vote once no twin is heard of. `guard` is the one that this run began with."""
        node = self._node
        assert node.me is not None, "who only follows has no twin"
        twin = TwinCheck(
            network=node.network,
            node_key=node.node_key.public,
            me=node.me,
            guard=guard,
            checks=node.checks,
            outbox=node.outbox,
            validators=lambda: node.validators(node.state.height + 1),
            authored=lambda: node.host.replica.lanes.own_head.sequence,
            entropy=node.machine.entropy,
        )
        reason = await twin.until_alone(node.config.consensus.twin_wait_s, self._silent)
        self._silenced = reason
        if reason:
            node.host.not_voting(reason)
            return
        node.host.casting.count_again()
        node.host.feed(VotingAllowed())
        node.author.wake()

    def _silent(self, reason: str) -> None:
        """Say why this node does not vote for now."""
        self._silenced = reason
        log.warning("not_voting", reason=reason)
