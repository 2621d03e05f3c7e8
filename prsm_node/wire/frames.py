"""Frames: how one is built from encoded messages, and how one that came is judged.

A frame is the msgpack array [version, network, kind, sender, sequence, payload, signature]; the payload is
an array of one kind's messages. The signature is made by the sender's node key over all before it and comes
last, so that what is signed is a prefix of the bytes. All up to the sequence lies at fixed offsets:

    97  01  c4 20 <network>  <kind>  c4 20 <sender>  <sequence> <payload>  c4 40 <signature>
    0   1   2                36      37              71                    -66

Judging goes from cheap to dear: length, head, kind, sender, sequence, rate, signature, payload. The first
thing that is wrong is the reason given. Nothing here keeps state; a link remembers its sequences.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from consensus.signing import SignedKind, signed_prefix
from prsm_node.identity.ed25519 import SigningKey, verify
from prsm_node.unreadable import UNREADABLE
from prsm_node.wire.kinds import FRAME_BYTES_MAX, KINDS, Kind

VERSION = 1
HEAD_BYTES = 71
SIGNATURE_TAIL = 66  # c4 40 and 64 bytes
SEQUENCE_MAX = 2**63
# The head, a sequence of one byte, an empty payload and the signature.
FRAME_BYTES_MIN = HEAD_BYTES + 1 + 1 + SIGNATURE_TAIL
# What a frame adds to its messages: head, a sequence of 9 bytes, an array header of 5, the signature.
FRAME_OVERHEAD_MAX = HEAD_BYTES + 9 + 5 + SIGNATURE_TAIL


class Reason(StrEnum):
    """Why a frame was refused; the names of counters."""

    GARBAGE = "garbage"
    TRUNCATED = "truncated"
    OVERSIZED = "oversized"
    TRAILING_BYTES = "trailing_bytes"
    WRONG_VERSION = "wrong_version"
    WRONG_NETWORK = "wrong_network"
    UNKNOWN_KIND = "unknown_kind"
    WRONG_SENDER = "wrong_sender"
    REPLAYED = "replayed"
    OVER_RATE = "over_rate"
    WRONG_SIGNATURE = "wrong_signature"
    MALFORMED_PAYLOAD = "malformed_payload"


class FrameRejected(Exception):
    """A peer's fault: a frame that breaks a rule. `field` says where, in words for an operator."""

    def __init__(self, reason: Reason, field: str) -> None:
        super().__init__(f"{reason}: {field}")
        self.reason = reason
        self.field = field


class Frame(msgspec.Struct, frozen=True):
    """A frame that passed every check."""

    kind: Kind
    sender: bytes
    sequence: int
    messages: list[Any]
    """Decoded, of the kind's payload type."""
    raw: list[bytes]
    """The bytes of each message, to be stored or sent again as they came."""


class _Outer(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    version: int
    network: bytes
    kind: int
    sender: bytes
    sequence: int
    payload: msgspec.Raw
    signature: bytes


_outer = msgspec.msgpack.Decoder(_Outer)
_raw_list = msgspec.msgpack.Decoder(list[msgspec.Raw])
_encoder = msgspec.msgpack.Encoder()
_encode_integer = msgspec.msgpack.Encoder().encode


def encode_message(message: Any) -> bytes:
    """Return the bytes of one message of any kind, as frames carry and rooms store them."""
    return _encoder.encode(message)


def array_header(length: int) -> bytes:
    """Return the msgpack header of an array of `length` elements."""
    if length < 16:
        return bytes((0x90 | length,))
    if length < 2**16:
        return b"\xdc" + length.to_bytes(2, "big")
    return b"\xdd" + length.to_bytes(4, "big")


def array_length(payload: bytes | memoryview) -> int:
    """Read an array's length from its header; -1 where it is no array. Costs nothing, proves nothing."""
    if not len(payload):
        return -1
    first = payload[0]
    if 0x90 <= first <= 0x9F:
        return first & 0x0F
    if first == 0xDC and len(payload) >= 3:
        return int.from_bytes(payload[1:3], "big")
    if first == 0xDD and len(payload) >= 5:
        return int.from_bytes(payload[1:5], "big")
    return -1


class FrameSealer:
    """Builds and signs frames of one sender on one network."""

    def __init__(self, network: bytes, key: SigningKey) -> None:
        self._key = key
        # 38 bytes for domain separation, which are signed and not sent, then the frame's constant start.
        self._prefix = signed_prefix(network, SignedKind.FRAME)
        self._start = self._prefix + bytes((0x97, VERSION, 0xC4, 32)) + network
        self._sender = b"\xc4\x20" + key.public

    def seal(self, kind: Kind, sequence: int, messages: Sequence[bytes]) -> bytes:
        """Return the frame of these encoded messages; they must fit the kind's size (`frame_bytes_max`)."""
        assert messages, "a frame carries at least one message"
        assert 0 < sequence <= SEQUENCE_MAX, f"sequence {sequence} is outside 1..2^63"
        signed = b"".join(
            (
                self._start,
                bytes((kind,)),
                self._sender,
                _encode_integer(sequence),
                array_header(len(messages)),
                *messages,
            )
        )
        frame = b"".join((memoryview(signed)[len(self._prefix) :], b"\xc4\x40", self._key.sign(signed)))
        bound = KINDS[kind].frame_bytes_max
        assert len(frame) <= bound, f"a {kind.name} frame of {len(frame)} bytes; at most {bound} are allowed"
        return frame


Admit = Callable[[Kind, int, int], bool]
"""(kind, messages, bytes) -> whether the link's rate allows them; asked before a signature is checked."""


class FrameJudge:
    """Decodes and checks frames of one network."""

    def __init__(self, network: bytes) -> None:
        self._network = network
        self._prefix = signed_prefix(network, SignedKind.FRAME)
        self._start = bytes((0x97, VERSION, 0xC4, 32)) + network

    def judge(
        self, raw: bytes, last_sequence: int = 0, sender: bytes | None = None, admit: Admit | None = None
    ) -> Frame:
        """Raise FrameRejected, or return a frame that passed every check.

        `sender` is the node key of the link's other end, where there is one; `last_sequence` the greatest
        sequence seen from it on this link.
        """
        if len(raw) > FRAME_BYTES_MAX:
            raise FrameRejected(Reason.OVERSIZED, f"{len(raw)} bytes; at most {FRAME_BYTES_MAX} are allowed")
        if not raw.startswith(self._start):
            raise _wrong_start(raw, self._network)
        outer = _decode_outer(raw)
        try:
            kind = Kind(outer.kind)
        except ValueError:
            raise FrameRejected(Reason.UNKNOWN_KIND, f"kind {outer.kind}") from None
        rules = KINDS[kind]
        if len(raw) > rules.frame_bytes_max:
            raise FrameRejected(
                Reason.OVERSIZED,
                f"{kind.name} of {len(raw)} bytes; at most {rules.frame_bytes_max} are allowed",
            )
        if len(outer.sender) != 32 or (sender is not None and outer.sender != sender):
            raise FrameRejected(Reason.WRONG_SENDER, f"sender {outer.sender[:32].hex()}")
        if not last_sequence < outer.sequence <= SEQUENCE_MAX:
            raise FrameRejected(Reason.REPLAYED, f"sequence {outer.sequence} after {last_sequence}")
        payload = memoryview(outer.payload)
        count = array_length(payload)
        if count < 1:
            raise FrameRejected(
                Reason.MALFORMED_PAYLOAD, f"{kind.name}: not an array of at least one message"
            )
        if admit is not None and not admit(kind, count, len(raw)):
            raise FrameRejected(Reason.OVER_RATE, f"{count} {kind.name} in {len(raw)} bytes")
        signed = b"".join((self._prefix, memoryview(raw)[:-SIGNATURE_TAIL]))
        if not verify(outer.sender, outer.signature, signed):
            raise FrameRejected(Reason.WRONG_SIGNATURE, f"{kind.name} of {outer.sender.hex()}")
        try:
            messages = rules.decoder.decode(payload)
            raws = [bytes(message) for message in _raw_list.decode(payload)]
        except UNREADABLE as error:
            raise FrameRejected(Reason.MALFORMED_PAYLOAD, f"{kind.name}: {error}") from None
        return Frame(kind, outer.sender, outer.sequence, messages, raws)


def contents(raw: bytes) -> tuple[Kind, list[bytes]]:
    """Return what a frame carries, its kind and the bytes of each message, with nothing checked: for who only
    watches. Raise FrameRejected, ValueError."""
    outer = _decode_outer(raw)
    return Kind(outer.kind), [bytes(message) for message in _raw_list.decode(outer.payload)]


def _decode_outer(raw: bytes) -> _Outer:
    try:
        outer = _outer.decode(raw)
    except msgspec.ValidationError as error:
        raise FrameRejected(Reason.GARBAGE, str(error)) from None
    except msgspec.DecodeError as error:
        text = str(error)
        if "truncated" in text:
            raise FrameRejected(Reason.TRUNCATED, f"{len(raw)} bytes end within the frame") from None
        if "trailing" in text:
            raise FrameRejected(Reason.TRAILING_BYTES, text) from None
        raise FrameRejected(Reason.GARBAGE, text) from None
    except (RecursionError, UnicodeDecodeError) as error:
        raise FrameRejected(Reason.GARBAGE, str(error)) from None
    # One encoding only: the kind in one byte, the sender and the signature with 8-bit lengths.
    canonical = raw[37:39] == b"\xc4\x20" and raw[-SIGNATURE_TAIL : -SIGNATURE_TAIL + 2] == b"\xc4\x40"
    if not canonical or len(outer.signature) != 64:
        raise FrameRejected(Reason.GARBAGE, "sender and signature do not lie where a frame has them")
    return outer


def _wrong_start(raw: bytes, network: bytes) -> FrameRejected:
    """Say what is wrong with bytes that do not begin as our network's frames do."""
    if len(raw) < FRAME_BYTES_MIN and raw[:1] in (b"", b"\x97") and raw[1:2] in (b"", bytes((VERSION,))):
        return FrameRejected(Reason.TRUNCATED, f"{len(raw)} bytes; a frame has at least {FRAME_BYTES_MIN}")
    if raw[:1] != b"\x97":
        return FrameRejected(Reason.GARBAGE, f"begins with {raw[:4].hex()}, not with an array of seven")
    if raw[1:2] != bytes((VERSION,)):
        return FrameRejected(Reason.WRONG_VERSION, f"version byte {raw[1]}; this node speaks {VERSION}")
    if raw[2:4] != b"\xc4\x20":
        return FrameRejected(Reason.GARBAGE, "no network id of 32 bytes after the version")
    return FrameRejected(Reason.WRONG_NETWORK, f"network {raw[4:36].hex()}; this one is {network.hex()}")
