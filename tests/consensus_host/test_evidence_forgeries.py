"""What an honest validator signs convicts it of nothing, however it is put together, changed or encoded.

The honest one signs one content at each place and keeps its lock; who attacks has all that it ever signed,
for this network and for another, and makes evidence of it under real Ed25519.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from consensus.dissemination.acknowledgements import Acknowledgement, acknowledgement_signed_bytes
from consensus.dissemination.batches import BatchHeader, batch_signed_bytes
from consensus.evidence import (
    AcknowledgementEquivocation,
    Amnesia,
    BatchEquivocation,
    Evidence,
    ProposalEquivocation,
    VoteEquivocation,
    guilty,
)
from consensus.proposal_header import ProposalHeader, header_signed_bytes
from consensus.votes import Vote, VoteKind, vote_signed_bytes
from prsm_node.consensus_host.checks import Checks
from prsm_node.identity.ed25519 import SigningKey

NETWORK, OTHER = b"n" * 32, b"o" * 32
A, B = b"a" * 32, b"b" * 32
HONEST, FAULTY = (SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2))
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
CHECKS = Checks(NETWORK)

Signed = Vote | ProposalHeader | BatchHeader | Acknowledgement


def signed(key: SigningKey, message: Any, network: bytes = NETWORK) -> Any:
    if isinstance(message, Vote):
        content = vote_signed_bytes(network, message)
    elif isinstance(message, ProposalHeader):
        content = header_signed_bytes(network, message)
    elif isinstance(message, BatchHeader):
        content = batch_signed_bytes(network, message)
    else:
        content = acknowledgement_signed_bytes(network, message.author, message.sequence, message.digest)
    return replace(message, signature=key.sign(content))


def said(key: SigningKey, value: bytes, network: bytes) -> Iterator[Signed]:
    """One content at each place: a lock on `value` from round 0 on, a nil where its proposal was late."""
    me = key.public
    for height, round_ in product((1, 2), (0, 1, 2)):
        mark = round_ - 1
        late = round_ == 1
        yield signed(key, prevote(me, height, round_, None if late else value, -1 if late else mark), network)
        yield signed(key, precommit(me, height, round_, None if late else value), network)
        yield signed(key, ProposalHeader(height, round_, mark, value, me), network)
    for sequence in (1, 2):
        yield signed(key, BatchHeader(me, sequence, bytes(32), value), network)
        for author in (me, FAULTY.public):
            yield signed(key, Acknowledgement(author, sequence, value, me), network)


def prevote(key: bytes, height: int, round_: int, value: bytes | None, mark: int) -> Vote:
    return Vote(VoteKind.PREVOTE, height, round_, value, mark, 0, key)


def precommit(key: bytes, height: int, round_: int, value: bytes | None) -> Vote:
    return Vote(VoteKind.PRECOMMIT, height, round_, value, -1, 0, key)


# The same places with another value on another network, and all that a faulty one may sign.
HEARD = [*said(HONEST, A, NETWORK), *said(HONEST, B, OTHER), *said(FAULTY, B, NETWORK)]
KINDS: list[Any] = [
    VoteEquivocation,
    ProposalEquivocation,
    BatchEquivocation,
    AcknowledgementEquivocation,
    Amnesia,
]
FIELDS = sorted({field for message in HEARD for field in message.__struct_fields__})
VALUES: list[Any] = [
    *(None, -1, 0, 1, 2, 3, 2**31, 2**62, A, B, bytes(32), b"", HONEST.public, FAULTY.public),
    *VoteKind,
    *(message.signature for message in HEARD[:6]),
]


def malleated(signature: bytes) -> bytes:
    """The other form of s that careless verifiers take: s + L."""
    s = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    return signature[:32] + s.to_bytes(32, "little")


@st.composite
def changed(draw: st.DrawFn) -> Signed:
    message = draw(st.sampled_from(HEARD))
    if draw(st.booleans()):
        message = replace(message, signature=malleated(message.signature))
    for _ in range(draw(st.integers(0, 2))):
        field = draw(st.sampled_from(FIELDS))
        if field in message.__struct_fields__:
            message = replace(message, **{field: draw(st.sampled_from(VALUES))})
    return message


@settings(max_examples=200)
@given(st.sampled_from(KINDS), changed(), changed())
def test_whatever_is_made_of_what_the_honest_said_does_not_convict_it(
    kind: Any, first: Signed, second: Signed
) -> None:
    encoded = msgspec.msgpack.encode(kind(first, second))
    try:
        piece = msgspec.msgpack.decode(encoded, type=Evidence)
    except msgspec.ValidationError:
        return
    assert not (CHECKS.evidence(piece) and guilty(piece) == HONEST.public), piece


def test_all_pairs_of_what_was_said_convict_only_who_said_two_things() -> None:
    """The attacker's material is not idle: the faulty one, heard on two networks, is not convicted by that
    either, but by a second word on this one."""
    votes = [message for message in HEARD if isinstance(message, Vote)]
    again = signed(FAULTY, prevote(FAULTY.public, 1, 0, A, -1))
    convicted = set()
    for first, second in product(votes, [*votes, again]):
        for kind in (VoteEquivocation, Amnesia):
            if CHECKS.evidence(kind(first, second)):
                convicted.add(guilty(kind(first, second)))
    assert convicted == {FAULTY.public}
    assert not any(CHECKS.evidence(VoteEquivocation(*pair)) for pair in product(votes, votes))


def test_one_content_under_two_signatures_is_no_second_word() -> None:
    """Whoever holds a key can sign one content twice with two nonces; ZIP-215 refuses s + L."""
    vote = signed(FAULTY, prevote(FAULTY.public, 1, 0, A, -1))
    other = replace(vote, signature=malleated(vote.signature))
    assert CHECKS.vote(vote) is not None
    assert CHECKS.vote(other) is None
    assert not CHECKS.evidence(VoteEquivocation(vote, other))


def loose(value: Any, wide: bool) -> bytes:
    """Encode an integer, bytes or an array, not in the shortest form where `wide`."""
    if not wide or value is None or isinstance(value, str):
        return msgspec.msgpack.encode(value)
    if isinstance(value, int):
        return b"\xd3" + int(value).to_bytes(8, "big", signed=True)
    if isinstance(value, bytes):
        return b"\xc6" + len(value).to_bytes(4, "big") + value
    items = list(value)
    return b"\xdd" + len(items).to_bytes(4, "big") + b"".join(loose(item, wide) for item in items)


@pytest.mark.parametrize("message", HEARD[:18:3] + HEARD[18:24], ids=lambda message: type(message).__name__)
def test_one_message_in_two_encodings_is_one_message(message: Signed) -> None:
    kind, tag = {
        Vote: (VoteEquivocation, "vote"),
        ProposalHeader: (ProposalEquivocation, "proposal"),
        BatchHeader: (BatchEquivocation, "batch"),
        Acknowledgement: (AcknowledgementEquivocation, "acknowledgement"),
    }[type(message)]
    fields = msgspec.structs.astuple(message)
    encoded = b"\x93" + loose(tag, wide=False) + loose(fields, wide=False) + loose(fields, wide=True)
    piece = msgspec.msgpack.decode(encoded, type=Evidence)
    assert piece == kind(message, message)
    assert not CHECKS.evidence(piece)
