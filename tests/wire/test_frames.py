"""Frames: what is sealed is what is judged, and each way to break one has its own name."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.blocks import EVIDENCE_MAX, Block, Proposal, Tip
from consensus.bounds import HEIGHT_MAX, ROUND_MAX, VALIDATORS_MAX
from consensus.certificates import Certificate, CertificateVote
from consensus.evidence import VoteEquivocation
from consensus.signing import SignedKind, signed_bytes
from consensus.votes import Vote, VoteKind
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.wire import payloads
from prsm_node.wire.describe import describe
from prsm_node.wire.frames import (
    FRAME_OVERHEAD_MAX,
    FrameJudge,
    FrameRejected,
    FrameSealer,
    Reason,
    array_header,
    array_length,
    encode_message,
)
from prsm_node.wire.kinds import FRAME_BYTES_MAX, KINDS, Kind
from tests.wire.samples import NETWORK, NODE, SAMPLES

GOLDEN = Path(__file__).parent.parent / "golden" / "frames"
SEALER = FrameSealer(NETWORK, NODE)
JUDGE = FrameJudge(NETWORK)


def sealed(kind: Kind, sequence: int = 1) -> bytes:
    return SEALER.seal(kind, sequence, [encode_message(message) for message in SAMPLES[kind]])


def refusal(raw: bytes, **arguments: object) -> Reason:
    with pytest.raises(FrameRejected) as caught:
        JUDGE.judge(raw, **arguments)  # type: ignore[arg-type]
    return caught.value.reason


def signed(*fields: object) -> bytes:
    """A frame of any seven fields, correctly signed over the first six."""
    content = b"\x97" + b"".join(map(msgspec.msgpack.encode, fields))
    return content + b"\xc4\x40" + NODE.sign(signed_bytes(NETWORK, SignedKind.FRAME, content))


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name)
def test_what_is_sealed_comes_out_again_with_the_bytes_of_each_message(kind: Kind) -> None:
    frame = JUDGE.judge(sealed(kind), sender=NODE.public)
    assert frame.kind is kind
    assert frame.messages == SAMPLES[kind]
    assert frame.raw == [encode_message(message) for message in SAMPLES[kind]]
    assert (frame.sender, frame.sequence) == (NODE.public, 1)


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name)
def test_the_encoding_of_each_kind_is_the_golden_one(kind: Kind) -> None:
    """A change here means that nodes of two versions do not understand each other: raise VERSION instead."""
    assert sealed(kind).hex() == (GOLDEN / f"{kind.name.lower()}.hex").read_text().strip()


def test_every_golden_frame_is_of_a_kind_that_still_exists() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {kind.name.lower() for kind in Kind}


def test_each_way_to_break_a_frame_has_its_own_reason() -> None:
    good = sealed(Kind.VOTE)
    forged = good[:-1] + bytes((good[-1] ^ 1,))
    other_network = FrameSealer(b"\xff" * 32, NODE).seal(
        Kind.VOTE, 1, [encode_message(SAMPLES[Kind.VOTE][0])]
    )
    stranger = SigningKey.from_seed(b"\x01" * 32).public
    vote = SAMPLES[Kind.VOTE][0]
    assert refusal(b"any bytes at all" * 20) is Reason.GARBAGE
    assert refusal(good[:-1]) is Reason.TRUNCATED
    assert refusal(b"") is Reason.TRUNCATED
    assert refusal(good + b"\x00") is Reason.TRAILING_BYTES
    assert refusal(bytes(FRAME_BYTES_MAX + 1)) is Reason.OVERSIZED
    assert refusal(b"\x97\x02" + good[2:]) is Reason.WRONG_VERSION
    assert refusal(other_network) is Reason.WRONG_NETWORK
    assert refusal(signed(1, NETWORK, 99, NODE.public, 1, [vote])) is Reason.UNKNOWN_KIND
    assert refusal(good, sender=stranger) is Reason.WRONG_SENDER
    assert refusal(good, last_sequence=1) is Reason.REPLAYED
    assert refusal(good, admit=lambda kind, messages, size: False) is Reason.OVER_RATE
    assert refusal(forged) is Reason.WRONG_SIGNATURE
    assert refusal(signed(1, NETWORK, 11, NODE.public, 1, [])) is Reason.MALFORMED_PAYLOAD
    assert refusal(signed(1, NETWORK, 11, NODE.public, 1, ["no vote"])) is Reason.MALFORMED_PAYLOAD
    assert refusal(signed(1, NETWORK, 11, NODE.public, 1, {})) is Reason.MALFORMED_PAYLOAD


def test_a_frame_above_its_kinds_size_is_refused_before_its_signature_is_looked_at() -> None:
    padding = b"x" * KINDS[Kind.HEARTBEAT].frame_bytes_max
    assert refusal(signed(1, NETWORK, int(Kind.HEARTBEAT), NODE.public, 1, [padding])) is Reason.OVERSIZED


def test_the_rate_is_asked_with_the_number_of_messages_and_bytes() -> None:
    asked = []

    def admit(kind: Kind, messages: int, size: int) -> bool:
        asked.append((kind, messages, size))
        return True

    raw = sealed(Kind.REQUEST)
    JUDGE.judge(raw, admit=admit)
    assert asked == [(Kind.REQUEST, len(SAMPLES[Kind.REQUEST]), len(raw))]


def test_one_message_out_of_bounds_spoils_its_frame() -> None:
    too_long = encode_message(b"x" * 16_385)
    good = encode_message(b"x" * 16_384)
    assert len(JUDGE.judge(SEALER.seal(Kind.TRANSACTIONS, 1, [good, good])).messages) == 2
    assert refusal(SEALER.seal(Kind.TRANSACTIONS, 1, [good, too_long])) is Reason.MALFORMED_PAYLOAD


def test_a_frame_has_one_encoding_only() -> None:
    """The same fields with longer headers would be other bytes under the same meaning."""
    good = sealed(Kind.HAVE)
    longer = good[:37] + b"\xc5\x00\x20" + good[39:]
    assert refusal(longer) is Reason.GARBAGE


@given(st.binary(max_size=400))
def test_garbage_of_any_shape_is_refused_and_never_raises_otherwise(garbage: bytes) -> None:
    refusal(garbage)
    refusal(sealed(Kind.VOTE)[:36] + garbage)


@given(st.integers(0, 10_000), st.integers(1, 255), st.sampled_from(list(Kind)))
def test_one_flipped_byte_anywhere_is_noticed(place: int, flip: int, kind: Kind) -> None:
    raw = bytearray(sealed(kind))
    raw[place % len(raw)] ^= flip
    refusal(bytes(raw))


@given(st.integers(0, 2**32 - 1))
def test_an_array_header_says_its_length_as_msgpack_reads_it(length: int) -> None:
    assert array_length(array_header(length)) == length


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65_535, 65_536])
def test_array_headers_are_msgpacks(count: int) -> None:
    assert msgspec.msgpack.encode([None] * count).startswith(array_header(count))


def test_the_largest_messages_fit_their_frames() -> None:
    header = SAMPLES[Kind.BATCH][0].header
    votes = tuple(CertificateVote(bytes(32), 2**62, bytes(64)) for _ in range(VALIDATORS_MAX))
    polka = Certificate(VoteKind.PREVOTE, HEIGHT_MAX, ROUND_MAX, bytes(32), votes)
    tips = tuple(Tip(bytes(32), HEIGHT_MAX, bytes(32)) for _ in range(VALIDATORS_MAX))
    vote = Vote(VoteKind.PREVOTE, HEIGHT_MAX, ROUND_MAX, bytes(32), ROUND_MAX, 0, bytes(32), bytes(64))
    pieces = (VoteEquivocation(vote, vote),) * EVIDENCE_MAX
    block = Block(HEIGHT_MAX, bytes(32), 2**53, bytes(32), tips, pieces, bytes(32), bytes(32))
    proposal = Proposal(ROUND_MAX, ROUND_MAX, bytes(32), block, polka, bytes(64))
    assert len(encode_message(proposal)) < 54 * 1024, "as kinds.py reckons"
    assert len(encode_message(pieces[0])) < 400, "as evidence.py says"
    largest = {
        Kind.PROPOSAL: proposal,
        Kind.COMMITTED: payloads.Committed(block, polka),
        Kind.BATCH: payloads.Batch(header, bytes(payloads.BATCH_BODY_BYTES_MAX)),
        Kind.RESPONSE: payloads.Response(
            2**62, payloads.Outcome.FOUND, 63, 64, bytes(payloads.PART_BYTES_MAX)
        ),
        Kind.GOSSIP: payloads.Gossip(255, bytes(payloads.GOSSIP_BYTES_MAX)),
        Kind.HAVE: (bytes(32),) * payloads.DIGESTS_MAX,
        Kind.PEERS: ("x" * payloads.ADDRESS_LENGTH_MAX,) * payloads.PEERS_MAX,
        Kind.TRANSACTIONS: bytes(16_384),
    }
    for kind, message in largest.items():
        encoded = encode_message(message)
        assert len(encoded) + FRAME_OVERHEAD_MAX <= KINDS[kind].frame_bytes_max, kind.name
        assert JUDGE.judge(SEALER.seal(kind, 2**63 - 1, [encoded])).messages == [message]


def test_a_frame_is_described_with_field_names_and_the_verdict() -> None:
    shown = describe(sealed(Kind.HEARTBEAT))
    assert shown["kind"] == "HEARTBEAT"
    assert shown["messages"] == [{"type": "Heartbeat", "height": 7, "number": 3, "echo": 2, "held_us": 1500}]
    assert shown["rejected"] is None
    msgspec.json.encode(shown)


@given(st.binary(max_size=300))
def test_any_bytes_can_be_described(raw: bytes) -> None:
    assert describe(raw)["rejected"]["reason"]
    msgspec.json.encode(describe(raw))
    spoilt = sealed(Kind.COMMITTED)[:-70] + raw
    msgspec.json.encode(describe(spoilt))


def test_a_session_proof_is_good_for_one_node_session_and_challenge_only() -> None:
    given_ = (NETWORK, NODE.public, b"s" * 16, b"c" * 32)
    proofs = {payloads.session_signed_bytes(*given_)}
    for index in range(4):
        changed = list(given_)
        changed[index] = bytes((changed[index][0] ^ 1,)) + changed[index][1:]
        proofs.add(payloads.session_signed_bytes(*changed))
    assert len(proofs) == 5
