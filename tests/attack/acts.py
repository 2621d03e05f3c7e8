"""The hostile acts: each says what it does, what the daemon owes it, and one burst of it.

A burst is played over and over, on links that are made again when the daemon hangs up, until the attacker is
banned or the act's time is over. Nothing here needs a key that an outsider does not have.
"""

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum
from hashlib import sha256
from typing import Any, NamedTuple

import trio
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux import yamux

from consensus.certificates import Certificate, CertificateVote
from consensus.dissemination.acknowledgements import Acknowledgement, TipCertificate
from consensus.dissemination.batches import EMPTY_LANE, BatchHeader
from consensus.votes import Vote, VoteKind
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.network.addresses import parse_address, peer_id_of
from prsm_node.network.guarded_yamux import FRAME_HEADER
from prsm_node.wire.frames import FrameSealer, encode_message
from prsm_node.wire.kinds import FRAME_BYTES_MAX, Kind
from prsm_node.wire.payloads import (
    PEERS_MAX,
    Batch,
    BlocksWanted,
    BlockWanted,
    Gossip,
    Greeting,
    Heartbeat,
    Request,
    Response,
    SessionProof,
)
from prsm_node.wire.stream import on_stream
from tests.attack.arena import Arena
from tests.daemons.hostile_peer import HostilePeer

HASH = sha256(b"nothing").digest()
OTHER = SigningKey.from_seed(b"o" * 32)
MULTISTREAM = b"\x13/multistream/1.0.0\n"
SOCKETS_A_BURST = 100
PACE_S = 0.02

Burst = Callable[[Arena, HostilePeer], Awaitable[None]]


class Owed(Enum):
    """What a daemon must do about an act, besides going on with its work."""

    BAN = "ban"
    BEAR = "bear"
    """Costs little and can be no proof of ill will, or has no key to ban."""


class Act(NamedTuple):
    """Args:
    does: in words, for the report.
    greets: whether the peer links up properly first; None for acts on bare sockets.
    """

    name: str
    does: str
    owed: Owed
    burst: Burst
    greets: bool | None = True
    quick: bool = False
    """Whether the short run plays it."""


# Frames ------------------------------------------------------------------------------------------


def sends(made: Callable[[Arena, HostilePeer], bytes]) -> Burst:
    async def burst(arena: Arena, peer: HostilePeer) -> None:
        await peer.write(made(arena, peer))
        await trio.sleep(PACE_S)

    return burst


def said(kind: Kind, made: Callable[[Arena, int], list[Any]]) -> Burst:
    """Well-formed and well-signed frames of one kind, made for the height that is agreed on."""

    async def burst(arena: Arena, peer: HostilePeer) -> None:
        height = await arena.height()
        for _ in range(20):
            await peer.say(kind, *made(arena, height))
        await trio.sleep(PACE_S)

    return burst


def a_frame(peer: HostilePeer) -> bytes:
    return peer.seal_raw(Kind.PEERS, [encode_message(("/ip4/127.0.0.1/tcp/1",))])


def garbage(arena: Arena, peer: HostilePeer) -> bytes:
    return on_stream(os.urandom(400))


def truncated(arena: Arena, peer: HostilePeer) -> bytes:
    return on_stream(a_frame(peer)[:-10])


def oversized(arena: Arena, peer: HostilePeer) -> bytes:
    return (FRAME_BYTES_MAX + 1).to_bytes(4, "big") + bytes(100_000)


def trailing(arena: Arena, peer: HostilePeer) -> bytes:
    return on_stream(a_frame(peer) + b"\x00")


def wrong_version(arena: Arena, peer: HostilePeer) -> bytes:
    return on_stream(b"\x97\x09" + a_frame(peer)[2:])


def wrong_network(arena: Arena, peer: HostilePeer) -> bytes:
    return on_stream(FrameSealer(b"\xff" * 32, peer.key).seal(Kind.HEARTBEAT, 900, [b"\x90"]))


def wrong_sender(arena: Arena, peer: HostilePeer) -> bytes:
    return on_stream(FrameSealer(arena.network, OTHER).seal(Kind.HEARTBEAT, 900, [b"\x90"]))


def bad_signature(arena: Arena, peer: HostilePeer) -> bytes:
    frame = a_frame(peer)
    return on_stream(frame[:-1] + bytes((frame[-1] ^ 1,)))


def replayed(arena: Arena, peer: HostilePeer) -> bytes:
    return on_stream(peer.sealer.seal(Kind.HEARTBEAT, 1, [encode_message(Heartbeat(0, 1, 0, 0))]))


def unknown_kind(arena: Arena, peer: HostilePeer) -> bytes:
    frame = a_frame(peer)
    return on_stream(peer.sign(frame[:36] + b"\x63" + frame[37:71] + b"\x7f\x91\xc0"))


def nested(arena: Arena, peer: HostilePeer) -> bytes:
    """A message of arrays in arrays, 200,000 deep, in a frame that is signed well."""
    return on_stream(peer.seal_raw(Kind.REQUEST, [b"\x91" * 16_000 + b"\x90"]))


def claims_billions(arena: Arena, peer: HostilePeer) -> bytes:
    """An array header of 2^32 - 1 messages before a few bytes: what a decoder might make room for."""
    head = a_frame(peer)[:71]
    return on_stream(peer.sign(head + b"\x7f\xdd\xff\xff\xff\xff" + b"\xc0" * 100))


def many_small(arena: Arena, peer: HostilePeer) -> bytes:
    """Sixty thousand votes of nothing in a frame of 64 KiB: cheap to send, dear to decode one by one."""
    return on_stream(peer.seal_raw(Kind.VOTE, [b"\xc0"] * 60_000))


# Greetings -----------------------------------------------------------------------------------------


async def claims_a_validator(arena: Arena, peer: HostilePeer) -> None:
    claimed = arena.validators[0]
    greeting = Greeting(arena.network, "hostile", (), 0, bytes(32), bytes(8), claimed)
    proof = SessionProof(claimed, b"session1", OTHER.sign(b"not what was asked"))
    await peer.say(Kind.HELLO, greeting, proof)
    await trio.sleep(0.1)


async def greets_of_another_genesis(arena: Arena, peer: HostilePeer) -> None:
    await peer.say(Kind.HELLO, Greeting(b"\x01" * 32, "hostile", (), 0, bytes(32), bytes(8)))
    await trio.sleep(0.1)


async def speaks_before_greeting(arena: Arena, peer: HostilePeer) -> None:
    await peer.say(Kind.REQUEST, Request(1, BlocksWanted(1, 64)))
    await trio.sleep(0.1)


# Floods --------------------------------------------------------------------------------------------


async def floods_heartbeats(arena: Arena, peer: HostilePeer) -> None:
    for _ in range(200):
        await peer.say(Kind.HEARTBEAT, Heartbeat(0, 1, 0, 0))


async def floods_requests(arena: Arena, peer: HostilePeer) -> None:
    for begin in range(1, 1_001, 100):
        await peer.say(Kind.REQUEST, *(Request(begin + n, BlocksWanted(1, 64)) for n in range(100)))


async def answers_unasked(arena: Arena, peer: HostilePeer) -> None:
    from prsm_node.wire.payloads import Outcome

    for number in range(20):
        await peer.say(Kind.RESPONSE, Response(number + 1, Outcome.FOUND, 0, 64, b"unasked" * 1_000))


async def asks_for_what_nobody_has(arena: Arena, peer: HostilePeer) -> None:
    await peer.say(Kind.REQUEST, *(Request(n + 1, BlockWanted(2**62, os.urandom(32))) for n in range(16)))
    await trio.sleep(PACE_S)


async def gossips_addresses(arena: Arena, peer: HostilePeer) -> None:
    for _ in range(4):
        told = tuple(
            f"/ip4/203.0.{os.urandom(1)[0]}.{os.urandom(1)[0]}/tcp/7100/p2p/{peer_id_of(os.urandom(32))}"
            for _ in range(PEERS_MAX)
        )
        await peer.say(Kind.PEERS, told)
    await trio.sleep(PACE_S)


async def gossips_junk(arena: Arena, peer: HostilePeer) -> None:
    await peer.say(Kind.GOSSIP, *(Gossip(1, os.urandom(500)) for _ in range(50)))
    await trio.sleep(PACE_S)


async def sends_junk_transactions(arena: Arena, peer: HostilePeer) -> None:
    await peer.say(Kind.TRANSACTIONS, *(os.urandom(250) for _ in range(100)))
    await trio.sleep(PACE_S)


async def offers_what_is_not(arena: Arena, peer: HostilePeer) -> None:
    await peer.say(Kind.HAVE, tuple(os.urandom(32) for _ in range(1_000)))
    await peer.say(Kind.WANT, tuple(os.urandom(32) for _ in range(1_000)))


async def claims_a_height(arena: Arena, peer: HostilePeer) -> None:
    peer.height = 2**62
    await peer.say(Kind.HEARTBEAT, Heartbeat(2**62, 1, 0, 0))
    await trio.sleep(0.2)


def strangers_votes(arena: Arena, height: int) -> list[Any]:
    return [Vote(VoteKind.PREVOTE, height, r, HASH, -1, 0, OTHER.public, b"s" * 64) for r in range(50)]


def forged_votes(arena: Arena, height: int) -> list[Any]:
    """In the names of the others, for many rounds: what would take their slots if it were not checked."""
    return [
        Vote(VoteKind.PREVOTE, height, r, HASH, -1, 0, voter, os.urandom(64))
        for r in range(16)
        for voter in arena.validators
    ]


def forged_certificates(arena: Arena, height: int) -> list[Any]:
    votes = tuple(CertificateVote(voter, -1, os.urandom(64)) for voter in sorted(arena.validators))
    return [Certificate(VoteKind.PREVOTE, height, 0, os.urandom(32), votes)]


def forged_batches(arena: Arena, height: int) -> list[Any]:
    """In every lane's name, from its begin on: some of them are wanted wherever the lanes stand."""
    body = os.urandom(1_000)
    return [
        Batch(BatchHeader(author, sequence, EMPTY_LANE, sha256(body).digest(), os.urandom(64)), body)
        for author in arena.validators
        for sequence in (1, 2, 4, 8, 16, 32)
    ]


def strangers_acknowledgements(arena: Arena, height: int) -> list[Any]:
    return [Acknowledgement(key, 1, HASH, OTHER.public, os.urandom(64)) for key in arena.validators]


def forged_tips(arena: Arena, height: int) -> list[Any]:
    votes = tuple((key, os.urandom(64)) for key in sorted(arena.validators))
    return [TipCertificate(arena.validators[0], 2**40 + n, HASH, votes) for n in range(10)]


# Streams and connections -----------------------------------------------------------------------------


async def floods_streams(arena: Arena, peer: HostilePeer) -> None:
    """Without a word on any of them, so that nothing but their opening is paced."""
    connection = peer._stream._stream.muxed_conn
    for _ in range(50):
        stream = await connection.open_stream()
        await stream.reset()


async def floods_frames(arena: Arena, peer: HostilePeer) -> None:
    """Window updates of nothing: 12 bytes each, and no frame of ours is ever judged for them."""
    stream = peer._stream._stream
    nothing = FRAME_HEADER.pack(0, yamux.TYPE_WINDOW_UPDATE, 0, stream.muxed_stream.stream_id, 0)
    await stream.muxed_conn.secured_conn.write(nothing * 5_000)


async def overruns_windows(arena: Arena, peer: HostilePeer) -> None:
    address = parse_address(arena.address)
    assert address.node_key is not None
    to = ID.from_base58(peer_id_of(address.node_key))
    stream = await peer._host.libp2p.new_stream(to, [TProtocol("/ipfs/ping/1.0.0")])
    stream.muxed_stream.send_window = 2**40  # type: ignore[attr-defined]
    for _ in range(160):
        await stream.write(bytes(65_000))


async def abuses_libp2p(arena: Arena, peer: HostilePeer) -> None:
    """Garbage on identify, ping, push and the DHT."""
    address = parse_address(arena.address)
    assert address.node_key is not None
    to = ID.from_base58(peer_id_of(address.node_key))
    for protocol in ("/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0", "/prsm/kad/1.0.0"):
        for junk in (b"", b"\xff" * 40, b"\x28" + os.urandom(40), b"\x08\x01\x12\x04/pk/"):
            with suppress(Exception), trio.move_on_after(0.5):
                stream = await peer._host.libp2p.new_stream(to, [TProtocol(protocol)])
                await stream.write(junk)
                await stream.close()


async def crowds(arena: Arena, peer: HostilePeer) -> None:
    """Twenty nodes more, each with a key of its own, that link up and stay."""

    async def stays(other: HostilePeer) -> None:
        with suppress(Exception):
            async with other.linked(arena.address):
                await other.gone.wait()

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(stays, HostilePeer(arena.network))
        await peer.gone.wait()
        nursery.cancel_scope.cancel()


async def dribbles(arena: Arena, peer: HostilePeer) -> None:
    """A frame of a MiB, a byte at a time."""
    await peer.write(FRAME_BYTES_MAX.to_bytes(4, "big"))
    while not peer.gone.is_set():
        await peer.write(b"\x97")
        await trio.sleep(0.1)


async def never_reads(arena: Arena, peer: HostilePeer) -> None:
    peer.reads = False
    for number in range(1, 17):
        await peer.say(Kind.REQUEST, Request(number, BlocksWanted(1, 64)))
    await trio.sleep(1)


def sockets(first_bytes: bytes, drips: bool) -> Burst:
    """Bare connections, a hundred at a time, that say this and then nothing, or a byte now and then."""

    async def burst(arena: Arena, peer: HostilePeer) -> None:
        port = parse_address(arena.address).port
        host = parse_address(arena.address).host
        opened = []
        try:
            for _ in range(SOCKETS_A_BURST):
                with suppress(OSError):
                    opened.append(await trio.open_tcp_stream(host, port))
            for index in range(10 if drips else 1):
                for socket in opened:
                    with suppress(trio.BrokenResourceError):
                        await socket.send_all(first_bytes[index : index + 1] if drips else first_bytes)
                await trio.sleep(0.2)
        finally:
            for socket in opened:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 0.1):
                    await socket.aclose()

    return burst


ACTS: tuple[Act, ...] = (
    Act("garbage", "400 random bytes as a frame", Owed.BAN, sends(garbage), quick=True),
    Act("truncated", "frames that end too soon", Owed.BAN, sends(truncated)),
    Act("oversized", "a length above the bound", Owed.BAN, sends(oversized), quick=True),
    Act("trailing", "bytes behind the signature", Owed.BAN, sends(trailing)),
    Act("wrong-version", "frames of version 9", Owed.BAN, sends(wrong_version)),
    Act("wrong-network", "frames of another network", Owed.BAN, sends(wrong_network), quick=True),
    Act("wrong-sender", "frames in another node's name", Owed.BAN, sends(wrong_sender)),
    Act("bad-signature", "frames with a spoilt signature", Owed.BAN, sends(bad_signature), quick=True),
    Act("replay", "a sequence that was used", Owed.BAN, sends(replayed), quick=True),
    Act("unknown-kind", "frames of a kind there is not", Owed.BAN, sends(unknown_kind)),
    Act("nested-bomb", "arrays in arrays, 16,000 deep", Owed.BAN, sends(nested), quick=True),
    Act("header-bomb", "a header of 2^32 messages", Owed.BAN, sends(claims_billions)),
    Act("small-bomb", "60,000 empty votes a frame", Owed.BAN, sends(many_small)),
    Act("false-validator", "a validator's key without proof", Owed.BAN, claims_a_validator, False, True),
    Act("other-genesis", "greetings of another genesis", Owed.BAN, greets_of_another_genesis, False),
    Act("no-greeting", "questions before a greeting", Owed.BAN, speaks_before_greeting, False),
    Act("heartbeat-flood", "200 heartbeats a burst", Owed.BAN, floods_heartbeats),
    Act("request-flood", "1,000 ranges of blocks a burst", Owed.BAN, floods_requests, quick=True),
    Act("unasked-answers", "answers nobody asked for", Owed.BAN, answers_unasked),
    Act("idle-questions", "16 blocks at a time that nobody has", Owed.BEAR, asks_for_what_nobody_has),
    Act("address-flood", "strangers' addresses, 256 a burst", Owed.BEAR, gossips_addresses),
    Act("junk-gossip", "random bytes as gossip", Owed.BAN, gossips_junk),
    Act("junk-transactions", "random bytes as transactions", Owed.BAN, sends_junk_transactions, quick=True),
    Act("empty-offers", "2,000 digests of nothing a burst", Owed.BAN, offers_what_is_not),
    Act("huge-height", "a height of 2^62", Owed.BEAR, claims_a_height),
    Act("strangers-votes", "votes of no validator", Owed.BAN, said(Kind.VOTE, strangers_votes)),
    Act("vote-slots", "votes in all validators' names", Owed.BAN, said(Kind.VOTE, forged_votes), quick=True),
    Act("certificates", "certificates nobody signed", Owed.BAN, said(Kind.CERTIFICATE, forged_certificates)),
    Act("batches", "batches in a validator's name", Owed.BAN, said(Kind.BATCH, forged_batches)),
    Act(
        "acknowledgements",
        "acknowledgements of no validator",
        Owed.BAN,
        said(Kind.ACKNOWLEDGEMENT, strangers_acknowledgements),
    ),
    Act("tips", "certificates of tips nobody signed", Owed.BEAR, said(Kind.TIP_CERTIFICATE, forged_tips)),
    Act("stream-flood", "50 streams a burst", Owed.BAN, floods_streams),
    Act("frame-flood", "Yamux frames of nothing, 5,000 a burst", Owed.BEAR, floods_frames),
    Act("window-overrun", "10 MB into a window of 256 KB", Owed.BAN, overruns_windows),
    Act("libp2p-garbage", "garbage on identify, ping and the DHT", Owed.BEAR, abuses_libp2p),
    Act("crowd", "20 nodes of one address that stay", Owed.BEAR, crowds),
    Act("slow-frame", "a frame of a MiB, byte by byte", Owed.BEAR, dribbles),
    Act("never-reads", "large questions, and no reading", Owed.BEAR, never_reads),
    Act("half-open", "100 connections that say nothing", Owed.BEAR, sockets(b"", False), None, True),
    Act("half-handshake", "100 that stop in the handshake", Owed.BEAR, sockets(MULTISTREAM, False), None),
    Act("slow-handshake", "100 handshakes, byte by byte", Owed.BEAR, sockets(MULTISTREAM, True), None),
)
