"""What whole daemons must keep, as seen by one who sees every wire, disk and client. A break is a Violation.

Beyond consensus' own promises: the same state everywhere, money conserved, and that what a client was told
stays true. A faulty validator is a real daemon that runs twice: the two may sign against each other, and
nothing else that is promised do they break.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from consensus.blocks import Proposal, block_digest
from consensus.dissemination.acknowledgements import Acknowledgement
from consensus.dissemination.batches import batch_digest
from consensus.evidence import Evidence, evidence_of_votes, guilty
from consensus.simulation.violation import Violation
from consensus.validators import ValidatorSet
from consensus.votes import Vote
from prsm_node.consensus_host.executor import Final
from prsm_node.ledger.outcomes import Outcome
from prsm_node.ledger.roster import AHEAD
from prsm_node.node import Node
from prsm_node.wire.kinds import KINDS, Kind
from prsm_node.wire.payloads import Batch

SIGNED_ONCE = "the honest sign nothing twice and forget no lock"
AGREEMENT = "agreement"
ROOTS = "equal state roots at equal heights"
SUPPLY = "FTNS are neither made nor lost"
KEPT = "what was acknowledged is there"
BROKE_OFF = "no daemon ends by itself"
NO_CONVICT = "evidence convicts only the guilty"
JAILED = "who is proven guilty is out of the set three heights later, and nobody else"
LOUD = "a daemon whose disk refuses its journal ends and says so"

SIGNED: dict[Kind, msgspec.msgpack.Decoder[Any]] = {
    kind: msgspec.msgpack.Decoder(KINDS[kind].payload)
    for kind in (Kind.VOTE, Kind.PROPOSAL, Kind.BATCH, Kind.ACKNOWLEDGEMENT)
}
"""What signs a content for a place."""


class Promises:
    """Args:
    names: of validators, by key.
    faulty: the keys of those that run twice.
    voted: told (height, round) of each vote.
    """

    def __init__(
        self, names: dict[bytes, str], faulty: Iterable[bytes], voted: Callable[[int, int], None]
    ) -> None:
        self._faulty = frozenset(faulty)
        self._voted = voted
        self.chain: dict[int, tuple[bytes, bytes]] = {}
        """Digest and state root by height, as the first daemon had them."""
        self.acknowledged: dict[bytes, int] = {}
        """The height of each transaction that a client was told to be final."""
        self.jailed_from: dict[bytes, int] = {}
        """The height from which on a convict is out of the set."""
        self.signed_twice = 0
        """How often a faulty validator did."""
        self._names = names
        self._seen: set[bytes] = set()
        self._votes: defaultdict[tuple[bytes, int], list[Vote]] = defaultdict(list)
        self._signed: dict[tuple[bytes, str, object, int], object] = {}

    # --- what leaves a process --------------------------------------------------------------------

    def sent(self, kind: Kind, raw: bytes) -> None:
        """A message of this kind is on a wire."""
        if kind not in SIGNED or raw in self._seen:
            return
        self._seen.add(raw)
        message = SIGNED[kind].decode(raw)
        if isinstance(message, Vote):
            self._vote(message)
        elif isinstance(message, Proposal):
            content = (message.valid_round, block_digest(message.block))
            self._once((message.proposer, "proposal", message.height, message.round), content)
        elif isinstance(message, Batch):
            header = message.header
            self._once((header.author, "batch", header.sequence, 0), batch_digest(header))
        elif isinstance(message, Acknowledgement):
            place = (message.voter, "acknowledgement", message.author, message.sequence)
            self._once(place, message.digest)

    def _vote(self, vote: Vote) -> None:
        votes = self._votes[vote.voter, vote.height]
        for other in votes:
            if evidence_of_votes(other, vote) is None:
                continue
            if vote.voter not in self._faulty:
                raise Violation(SIGNED_ONCE, f"{self._names[vote.voter]} signed {other} and {vote}")
            self.signed_twice += 1
        votes.append(vote)
        self._voted(vote.height, vote.round)

    def _once(self, place: tuple[bytes, str, object, int], content: object) -> None:
        if self._signed.setdefault(place, content) == content:
            return
        who, what, _, number = place
        if who not in self._faulty:
            raise Violation(SIGNED_ONCE, f"{self._names[who]} signed two contents: {what} {number}")
        self.signed_twice += 1

    # --- what a daemon executes -------------------------------------------------------------------

    def final(self, name: str, final: Final, node: Node) -> None:
        height = final.block.height
        self._block(name, height, final.digest, final.execution.state_root)
        self._convicts(name, final.block.evidence)
        for piece in final.block.evidence:
            self.jailed_from.setdefault(guilty(piece), height + AHEAD)
        self._members(name, height + AHEAD, node.state.roster.term(height + AHEAD).set)

    def _convicts(self, name: str, pieces: Iterable[Evidence]) -> None:
        for piece in pieces:
            if guilty(piece) not in self._faulty:
                raise Violation(NO_CONVICT, f"{name} convicts {self._names[guilty(piece)]}, which is honest")

    def _members(self, name: str, height: int, members: ValidatorSet) -> None:
        for key, who in self._names.items():
            out = self.jailed_from.get(key, height + 1) <= height
            if out == (key in members):
                stands = "still" if out else "not"
                raise Violation(JAILED, f"{who} is {stands} in the set of height {height} on {name}")

    def _block(self, name: str, height: int, digest: bytes, root: bytes) -> None:
        known_digest, known_root = self.chain.setdefault(height, (digest, root))
        if digest != known_digest:
            raise Violation(AGREEMENT, f"{name} has another block at height {height}")
        if root != known_root:
            raise Violation(ROOTS, f"{name} has another root after height {height}")

    def standing(self, name: str, node: Node, addresses: list[bytes], genesis_supply: int) -> None:
        """Hold all that a daemon has on its disk and in memory against what is known."""
        state = node.state
        for height in range(state.first_block, state.height + 1):
            stored = state.block(height)
            if stored is not None:
                self._block(name, height, stored.record.digest, stored.record.state_root)
        supply = state.supply
        held = sum(account.balance for at in addresses if (account := state.account(at)) is not None)
        if held != supply.in_accounts:
            raise Violation(SUPPLY, f"{name}: accounts hold {held}, the books say {supply.in_accounts}")
        if held + supply.treasury + supply.burned != genesis_supply:
            raise Violation(SUPPLY, f"{name}: {genesis_supply} existed, {held} + {supply} exist")
        for digest, at_height in self.acknowledged.items():
            if not state.first_block <= at_height <= state.height:
                continue
            found = state.transactions.find(digest)
            if found is None or found.height != at_height or found.outcome != Outcome.EXECUTED:
                raise Violation(KEPT, f"{name} lacks {digest.hex()[:12]}, final at height {at_height}")
        self._convicts(name, node.host.replica.evidence.pieces())
        for height in range(1, state.height + AHEAD + 1):
            self._members(name, height, state.roster.term(height).set)

    def owed(self, nodes: Iterable[Node]) -> list[str]:
        """Return whom these hold evidence against that no block has committed yet."""
        held = {guilty(piece): None for node in nodes for piece in node.host.replica.evidence.pieces()}
        return [self._names[key] for key in held if key not in self.jailed_from]

    # --- what a client was told -------------------------------------------------------------------

    def told(self, name: str, digest: bytes, height: int) -> None:
        """A client was told by this daemon that its transaction is final."""
        if self.acknowledged.setdefault(digest, height) != height:
            raise Violation(KEPT, f"{name} says {digest.hex()[:12]} is final at another height, {height}")
