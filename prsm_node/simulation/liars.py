"""Faulty daemons: the real one, whose frames are altered or held back on their way out to some.

The daemon believes itself honest, its home and guard included. Between its seal and the wire stands who holds
both of its keys, and what leaves is signed as well as anything: each is called as the pure simulation's actor
that does the same (consensus/simulation/byzantine).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import msgspec
from msgspec.structs import replace

from consensus.blocks import Proposal, proposal_signed_bytes
from consensus.certificates import Certificate
from consensus.simulation.chance import Chance
from consensus.simulation.scenario import Actor
from consensus.votes import Vote, vote_signed_bytes
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.wire.frames import FrameSealer, contents, encode_message
from prsm_node.wire.kinds import KINDS, Kind
from prsm_node.wire.stream import FrameSplitter, on_stream

SHOWN: dict[Kind, msgspec.msgpack.Decoder[Any]] = {
    kind: msgspec.msgpack.Decoder(KINDS[kind].payload)
    for kind in (Kind.PROPOSAL, Kind.VOTE, Kind.CERTIFICATE)
}
"""What is said in rounds."""

Alter = Callable[[bytes], bytes]
"""What leaves on a stream -> what leaves instead."""


class Liar:
    """What speaks for a daemon.

    Args:
        keys: the node's and the validator's.
        counts: told of each message that is "altered" or "withheld".
    """

    def __init__(
        self,
        number: int,
        network: bytes,
        keys: tuple[SigningKey, SigningKey],
        chance: Chance,
        counts: Callable[[str], None],
    ) -> None:
        self.number, self.network, self.key, self.chance = number, network, keys[1], chance
        self._sealer = FrameSealer(network, keys[0])
        self._count = counts

    def to(self, peer: int) -> Alter:
        """Return what alters a stream to this process."""
        splitter, sequences = FrameSplitter(), count(1)

        def alter(data: bytes) -> bytes:
            sealed: list[bytes] = []
            for raw in splitter.feed(data):
                kind, messages = contents(raw)
                left = self._left(peer, kind, messages)
                if left:
                    sealed.append(on_stream(self._sealer.seal(kind, next(sequences), left)))
            return b"".join(sealed)

        return alter

    def _left(self, peer: int, kind: Kind, messages: Sequence[bytes]) -> list[bytes]:
        told = [(message, self.message(peer, kind, message)) for message in messages]
        left = [new for _, new in told if new is not None]
        if len(left) < len(told):
            self._count("withheld")
        if any(new is not None and new != old for old, new in told):
            self._count("altered")
        return left

    def message(self, peer: int, kind: Kind, raw: bytes) -> bytes | None:
        """Return what a peer is told instead of this; None for nothing."""
        said = SHOWN[kind].decode(raw) if kind in SHOWN else None
        if isinstance(said, Vote) and said.voter == self.key.public:
            shown: Vote | Proposal = self.vote(peer, said)
            return raw if shown is said else encode_message(shown)
        if isinstance(said, Proposal) and said.proposer == self.key.public:
            shown = self.proposal(peer, said)
            return raw if shown is said else encode_message(shown)
        return raw

    def vote(self, peer: int, vote: Vote) -> Vote:
        """What a peer is shown of a vote of its own."""
        return vote

    def proposal(self, peer: int, proposal: Proposal) -> Proposal:
        """What a peer is shown of a proposal of its own."""
        return proposal


class DoubleVoter(Liar):
    """Votes for the value to one half and for nil to the other."""

    def vote(self, peer: int, vote: Vote) -> Vote:
        if vote.value is None or (peer + vote.round) % 2:
            return vote
        nil = replace(vote, value=None, polka_round=-1, diverged=0)
        return replace(nil, signature=self.key.sign(vote_signed_bytes(self.network, nil)))


class EquivocatingProposer(Liar):
    """Shows one half another block than the other."""

    def proposal(self, peer: int, proposal: Proposal) -> Proposal:
        if proposal.valid_round >= 0 or peer % 2:
            return proposal
        rival = replace(proposal, block=replace(proposal.block, time_ms=proposal.block.time_ms + 1))
        return replace(rival, signature=self.key.sign(proposal_signed_bytes(self.network, rival)))


class Withholder(Liar):
    """Shows what it has to a random part, and answers no question."""

    held_back = (
        Kind.PROPOSAL,
        Kind.VOTE,
        Kind.CERTIFICATE,
        Kind.BATCH,
        Kind.ACKNOWLEDGEMENT,
        Kind.TIP_CERTIFICATE,
    )

    def message(self, peer: int, kind: Kind, raw: bytes) -> bytes | None:
        if kind is Kind.RESPONSE:
            return None
        if kind in self.held_back and self.chance.happens(("withhold", self.number, peer), 0.5):
            return None
        return raw


class SelectiveSender(Liar):
    """Speaks in rounds to one half alone, another half each height, and answers no question."""

    def message(self, peer: int, kind: Kind, raw: bytes) -> bytes | None:
        if kind in (Kind.RESPONSE, Kind.COMMITTED, Kind.CERTIFICATE):
            return None
        said = SHOWN[kind].decode(raw) if kind in SHOWN else None
        if isinstance(said, Vote | Proposal | Certificate) and (peer + said.height) % 4 >= 2:
            return None
        return raw


LIARS: Mapping[Actor, type[Liar]] = {
    "double_voter": DoubleVoter,
    "equivocating_proposer": EquivocatingProposer,
    "selective_sender": SelectiveSender,
    "withholder": Withholder,
}
CONVICTED = ("double_voter", "equivocating_proposer", "twins")
"""Those that sign against themselves."""
