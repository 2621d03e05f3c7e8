"""What nodes prove to each other about the use of one validator key (PROTOCOL, Twin).

A bare claim would let one lying validator keep another from voting for ever. How far a key has signed is
shown by the signed message itself, a live session by a signature over the asker's challenge.
"""

from typing import Protocol

import msgspec

from consensus.blocks import Proposal
from consensus.bounds import Signature, ValidatorKey
from consensus.dissemination.batches import BatchHeader
from consensus.votes import Vote
from prsm_node.unreadable import UNREADABLE
from prsm_node.wire.payloads import SessionId, SessionWanted, Wanted, session_signed_bytes

RELAY_S = 0.5
"""For the node that runs the key to sign a challenge handed on: half of what the asker waits."""


class SignedSeen(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The answer to SignedWanted: one of the two, or neither where nothing signed with the key is known."""

    vote: Vote | None
    proposal: Proposal | None


class AuthoredSeen(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The answer to SequenceWanted: the last batch known of that lane, as its author signed it (Lanes 6)."""

    header: BatchHeader | None


class ProvenSession(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A node signs with the validator key that it runs it now; session_signed_bytes() is what is signed."""

    node_key: ValidatorKey
    session: SessionId
    signature: Signature


class SessionSeen(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The answer to SessionWanted: whether there is one, and its proof where it answered in time."""

    live: bool
    proof: ProvenSession | None


_encode = msgspec.msgpack.Encoder().encode
_signed = msgspec.msgpack.Decoder(SignedSeen)
_session = msgspec.msgpack.Decoder(SessionSeen)
_authored = msgspec.msgpack.Decoder(AuthoredSeen)


def encode_seen(message: Vote | Proposal | None) -> bytes:
    if isinstance(message, Proposal):
        return _encode(SignedSeen(None, message))
    return _encode(SignedSeen(message, None))


def decode_signed(answer: bytes) -> SignedSeen:
    """Raise one of UNREADABLE."""
    return _signed.decode(answer)


def decode_session(answer: bytes) -> SessionSeen:
    """Raise one of UNREADABLE."""
    return _session.decode(answer)


def encode_authored(header: BatchHeader | None) -> bytes:
    return _encode(AuthoredSeen(header))


def decode_authored(answer: bytes) -> BatchHeader | None:
    """Raise one of UNREADABLE."""
    return _authored.decode(answer).header


class OwnSession(Protocol):
    """The validator that this node runs."""

    @property
    def key(self) -> bytes: ...
    @property
    def session(self) -> bytes: ...
    def sign_session(self, message: bytes) -> bytes: ...


class SessionLinks(Protocol):
    """What is needed of the links."""

    def holders(self, validator: bytes, besides: int) -> list[int]:
        """Return the links that proved this validator key, but for one."""

    async def ask(self, link: int, wanted: Wanted, deadline_s: float) -> bytes | None: ...


class LiveSessions:
    """Args: `own` is None for a node that runs no validator."""

    def __init__(self, network: bytes, node_key: bytes, own: OwnSession | None, links: SessionLinks) -> None:
        self._network = network
        self._node_key = node_key
        self._own = own
        self._links = links

    async def answer(self, link: int, wanted: SessionWanted) -> bytes:
        """Sign the challenge where the key is ours, else have it signed; late in RELAY_S at most.

        The signature names this node, so that whose challenge it is does not matter: no other can use it.
        """
        if self._own is not None and self._own.key == wanted.validator:
            content = session_signed_bytes(self._network, self._node_key, self._own.session, wanted.challenge)
            signature = self._own.sign_session(content)
            return _encode(SessionSeen(True, ProvenSession(self._node_key, self._own.session, signature)))
        holders = self._links.holders(wanted.validator, link)
        if not holders:
            return _encode(SessionSeen(False, None))
        # A further holder would show the same: two sessions besides the asker's are one too many already.
        answer = await self._links.ask(holders[0], wanted, RELAY_S)
        try:
            proof = decode_session(answer).proof if answer is not None else None
        except UNREADABLE:
            proof = None
        return _encode(SessionSeen(True, proof))
