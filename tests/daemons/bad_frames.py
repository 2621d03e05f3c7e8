"""Frames that a daemon refuses, one for each of its reasons."""

from prsm_node.wire.frames import FrameSealer, encode_message
from prsm_node.wire.kinds import FRAME_BYTES_MAX, Kind
from prsm_node.wire.stream import on_stream
from tests.daemons.hostile_peer import HostilePeer
from tests.daemons.target import JUNK_KEY


def bad_frames(peer: HostilePeer, network: bytes) -> dict[str, bytes]:
    """What a stream must carry for each reason."""
    message = [encode_message(("/ip4/127.0.0.1/tcp/1",))]

    def good() -> bytes:
        return peer.seal_raw(Kind.PEERS, message)

    alien = FrameSealer(b"\xff" * 32, peer.key).seal(Kind.PEERS, 900, message)
    other = FrameSealer(network, JUNK_KEY).seal(Kind.PEERS, 900, message)
    spoilt = good()
    return {
        "garbage": on_stream(b"garbage " * 30),
        "truncated": on_stream(good()[:-10]),
        "oversized": (FRAME_BYTES_MAX + 1).to_bytes(4, "big"),
        "trailing_bytes": on_stream(good() + b"\x00"),
        "wrong_version": on_stream(b"\x97\x09" + good()[2:]),
        "wrong_network": on_stream(alien),
        "unknown_kind": on_stream(
            peer.sign(b"\x97\x01\xc4\x20" + network + b"\x63" + good()[37:71] + b"\x7f\x91\xc0")
        ),
        "wrong_sender": on_stream(other),
        "replayed": on_stream(peer.sealer.seal(Kind.PEERS, 1, message)),
        "wrong_signature": on_stream(spoilt[:-1] + bytes((spoilt[-1] ^ 1,))),
        "malformed_payload": on_stream(peer.seal(Kind.VOTE, "no vote")),
    }
