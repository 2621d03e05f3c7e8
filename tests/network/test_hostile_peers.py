"""Peers that lie, flood, stall or talk garbage: each is named, counted, scored, and the node lives."""

import contextlib
import os
import random

import msgspec
import pytest
import trio
from libp2p import new_host
from libp2p.custom_types import TProtocol
from libp2p.host.ping import PingService
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.stream_muxer.yamux import yamux
from libp2p.utils.varint import read_length_prefixed_protobuf
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from prsm_node.network import cpu_budget, guarded_yamux
from prsm_node.network.addresses import parse_address, peer_id_of
from prsm_node.network.cpu_budget import SIGNATURE_CHECK_S, STRANGER_SHARE
from prsm_node.network.discovery import Discovery
from prsm_node.network.guarded_yamux import FRAME_HEADER, HELD_BYTES_MAX, STREAMS_BURST
from prsm_node.network.host import HANDSHAKES_MAX
from prsm_node.network.link import Link
from prsm_node.network.outbox import QUEUE_BYTES_MAX
from prsm_node.token_bucket import BURST_S
from prsm_node.wire.frames import FrameSealer, Reason, encode_message
from prsm_node.wire.kinds import FRAME_BYTES_MAX, KINDS, Kind, Priority
from prsm_node.wire.payloads import BlocksWanted, Outcome, Request, Response, Wanted
from prsm_node.wire.stream import on_stream
from tests.network.nodes import NETWORK, Node, Rogue, config, key, running, start, until
from tests.wire.samples import SAMPLES

VOTE = SAMPLES[Kind.VOTE][0]


def spoilt(rogue: Rogue, reason: Reason) -> bytes:
    """What a stream must carry for a node to give this reason."""
    good = rogue.seal(Kind.VOTE, VOTE)
    frames = {
        Reason.GARBAGE: lambda: b"garbage " * 30,
        Reason.TRUNCATED: lambda: good[:-10],
        Reason.TRAILING_BYTES: lambda: good + b"\x00",
        Reason.WRONG_VERSION: lambda: b"\x97\x09" + good[2:],
        Reason.WRONG_NETWORK: lambda: FrameSealer(b"\xff" * 32, rogue.key).seal(
            Kind.VOTE, 5, [encode_message(VOTE)]
        ),
        Reason.UNKNOWN_KIND: lambda: rogue.sign(
            b"\x97\x01\xc4\x20" + NETWORK + b"\x63" + good[37:71] + b"\x05\x91\xc0"
        ),
        Reason.WRONG_SENDER: lambda: FrameSealer(NETWORK, key(99)).seal(Kind.VOTE, 5, [encode_message(VOTE)]),
        Reason.REPLAYED: lambda: rogue.seal(Kind.VOTE, VOTE, sequence=1),
        Reason.WRONG_SIGNATURE: lambda: good[:-1] + bytes((good[-1] ^ 1,)),
        Reason.MALFORMED_PAYLOAD: lambda: rogue.seal(Kind.VOTE, "no vote"),
    }
    if reason is Reason.OVERSIZED:
        return (FRAME_BYTES_MAX + 1).to_bytes(4, "big")
    return on_stream(frames[reason]())


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.OVER_RATE])
async def test_a_bad_frame_is_refused_by_name_counted_and_scored(reason: Reason) -> None:
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5))
        node.take({Kind.VOTE})
        async with Rogue(9).linked(node) as rogue:
            await rogue.write(spoilt(rogue, reason))
            await until(lambda: node.links.scores.faults[reason] == 1)
            assert node.links.scores.score(rogue.key.public, trio.current_time()) < 0
            assert node.came == []
            if any(link.ended is None for link in node.links.links()):  # the stream can still be read
                await rogue.write(on_stream(rogue.seal(Kind.VOTE, VOTE)))
                await until(lambda: len(node.came) == 1)


async def test_who_sends_bad_frames_again_and_again_is_banned_for_a_while() -> None:
    async with running() as nursery:
        node = await start(nursery, 1, config(ban_s=1.0, heartbeat_s=5))
        async with Rogue(9).linked(node) as rogue:
            for _ in range(3):
                await rogue.write(spoilt(rogue, Reason.WRONG_SIGNATURE))
            await until(lambda: node.down)
            assert node.down[0].ended == "banned: wrong_signature"
            with contextlib.suppress(Exception):  # it is hung up on at one point or another
                await rogue.dial(node, greet=False)
                await rogue.write(on_stream(rogue.seal(Kind.HELLO, rogue.greeting())))
            await trio.sleep(0.2)
            assert node.links.links() == []
            assert node.links.stats()["links_refused"] == 1
            await trio.sleep(1.0)
            await rogue.dial(node)
            assert len(node.links.links()) == 1


async def test_a_frame_full_of_offences_is_one_ban_and_not_as_many() -> None:
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5))
        async with Rogue(9).linked(node) as rogue:
            unasked = [Response(number, Outcome.FOUND, 0, 1, b"") for number in range(1, 101)]
            await rogue.write(on_stream(rogue.seal(Kind.RESPONSE, *unasked)))
            await until(lambda: node.down)
        assert node.links.scores.faults["unasked_response"] == 100
        assert [ban.offences for ban in node.links.conduct.banned()] == [1]


async def test_a_flood_is_cut_to_the_rate_of_its_kind_and_ends_in_a_ban() -> None:
    rules = KINDS[Kind.REQUEST]
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5))
        bystander = await start(nursery, 2, config(*node.addresses, heartbeat_s=5))
        node.take({Kind.TRANSACTIONS})
        await until(bystander.links.links)
        async with Rogue(9).linked(node) as rogue:
            with trio.move_on_after(5):
                while not node.down:
                    frame = rogue.seal(Kind.HEARTBEAT, SAMPLES[Kind.HEARTBEAT][0])
                    try:
                        await rogue.write(on_stream(frame))
                    except Exception:
                        break
            await until(lambda: node.down)
        taken = node.links.stats()["frames_in"]
        assert node.links.scores.faults["over_rate"] >= 50, "each refused frame is counted"
        assert taken < 10 * rules.messages_per_s
        bystander.links.broadcast(Kind.TRANSACTIONS, encode_message(b"still here"))
        await until(lambda: node.came)


async def test_a_peer_that_never_reads_is_dropped_while_the_others_are_served() -> None:
    body = encode_message(os.urandom(16_000))
    async with running() as nursery:
        node = await start(nursery, 1, config(stall_s=1.0, heartbeat_s=2))
        reader = await start(nursery, 2, config(*node.addresses, heartbeat_s=2))
        reader.take({Kind.TRANSACTIONS})
        await until(reader.links.links)
        async with Rogue(9).linked(node) as rogue:
            deaf = node.links.link(rogue.key.public)
            assert deaf is not None
            most = sent = 0
            while deaf.ended is None:
                sent += node.links.broadcast(Kind.TRANSACTIONS, body) > 0
                most = max(most, deaf.outbox.depth_bytes)
                await trio.sleep(0.005)
            assert deaf.ended == "stalled"
            assert most <= QUEUE_BYTES_MAX[Priority.DISSEMINATION] + 100_000
            assert sent > 50
            await until(lambda: len(reader.came) == sent)


async def test_more_than_a_queue_holds_drops_the_oldest_and_counts_them() -> None:
    body = encode_message(os.urandom(16_000))
    bound = QUEUE_BYTES_MAX[Priority.DISSEMINATION]
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5))
        reader = await start(nursery, 2, config(*node.addresses, heartbeat_s=5))
        reader.take({Kind.TRANSACTIONS, Kind.VOTE})
        await until(node.links.links)
        for _ in range(2 * bound // len(body)):
            node.links.broadcast(Kind.TRANSACTIONS, body)
        node.links.broadcast(Kind.VOTE, encode_message(VOTE))
        stats = node.links.stats()
        assert stats["queued_bytes"] <= bound + 1_000
        assert stats["lost"] > 0
        await until(lambda: reader.came)
        assert reader.came[0][0] is Kind.VOTE, "a vote overtakes what waits"


async def test_a_peer_that_overruns_its_windows_is_cut_off_before_memory_grows() -> None:
    """Yamux keeps whatever comes; a ping stream is read slowly, as each ping is answered."""
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5))
        async with Rogue(9).linked(node) as rogue:
            peer = ID.from_base58(peer_id_of(node.links.node_key))
            stream = await rogue.host.libp2p.new_stream(peer, [TProtocol("/ipfs/ping/1.0.0")])
            stream.muxed_stream.send_window = 2**40  # type: ignore[attr-defined]
            sent = 0
            with contextlib.suppress(Exception):
                while sent < 3 * HELD_BYTES_MAX:
                    await stream.write(bytes(65_000))
                    sent += 65_000
            await until(lambda: node.links.scores.faults["held_too_much"] == 1)
            await until(lambda: not node.links.links())


async def test_streams_opened_in_a_flood_end_the_connection_and_are_a_fault() -> None:
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5))
        async with Rogue(9).linked(node) as rogue:
            peer = ID.from_base58(peer_id_of(node.links.node_key))
            opened = 0
            with contextlib.suppress(Exception), trio.move_on_after(10):
                while opened < 3 * STREAMS_BURST:
                    stream = await rogue.host.libp2p.new_stream(peer, [TProtocol("/ipfs/ping/1.0.0")])
                    await stream.reset()
                    opened += 1
            await until(lambda: not node.links.links())
            assert node.links.scores.faults["stream_flood"] == 1
            assert opened <= 2 * STREAMS_BURST


@pytest.mark.parametrize("greet", [True, False])
async def test_frames_below_our_stream_are_charged_and_a_flood_of_them_ends_in_a_ban(
    monkeypatch: pytest.MonkeyPatch, greet: bool
) -> None:
    """Window updates of nothing and pings: 12 bytes each, for which no frame of ours is ever judged."""
    # So that this machine need not be kept busy for long.
    monkeypatch.setattr(guarded_yamux, "READ_S", 2e-3)
    monkeypatch.setattr(cpu_budget, "PAUSE_MAX_S", 0.15)
    monkeypatch.setattr(cpu_budget, "STRANGER_HELD_BACK_S", 0.1)
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5, greeting_s=20.0))
        other = await start(nursery, 2, config(*node.addresses, heartbeat_s=5))
        await until(other.links.links)
        async with Rogue(9).linked(node, greet) as rogue:
            connection = rogue.stream._stream.muxed_conn
            stream = rogue.stream._stream.muxed_stream.stream_id
            window = FRAME_HEADER.pack(0, yamux.TYPE_WINDOW_UPDATE, 0, stream, 0)
            ping = FRAME_HEADER.pack(0, yamux.TYPE_PING, yamux.FLAG_SYN, 0, 7)
            with contextlib.suppress(Exception), trio.move_on_after(15):
                while not node.links.conduct.node_banned(rogue.key.public):
                    await connection.secured_conn.write(window * 400 + ping * 10)
                    await trio.sleep(0.01)
            await until(lambda: node.links.conduct.node_banned(rogue.key.public))
            await until(lambda: node.links.link(rogue.key.public) is None)
            await until(lambda: len(node.links.host.swarm.get_connections()) == 1)
        assert node.links.scores.faults["costs_too_much"] >= 4
        assert node.links.counters["reads_delayed"] >= 4
        assert node.links.link(other.links.node_key) is not None


async def test_connections_without_a_link_are_few_and_keep_nobody_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prsm_node.network.host.GUESTS_MAX", 4)
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5))
        idle = [new_host() for _ in range(4 + 3)]
        async with contextlib.AsyncExitStack() as stack:
            for host in idle:
                await stack.enter_async_context(host.run([Multiaddr("/ip4/127.0.0.1/tcp/0")]))
                await host.connect(info_from_p2p_addr(Multiaddr(node.addresses[0])))
            await until(lambda: node.links.host.faults["guests pushed out"] == 3)
            good = await start(nursery, 2, config(*node.addresses, heartbeat_s=5))
            await until(good.links.links)


async def test_answers_nobody_asked_for_are_faults() -> None:
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5))
        async with Rogue(9).linked(node) as rogue:
            unasked = Response(77, Outcome.FOUND, 0, 1, b"here")
            await rogue.write(on_stream(rogue.seal(Kind.RESPONSE, unasked)))
            await until(lambda: node.links.scores.faults["unasked_response"] == 1)


async def test_random_frames_signed_by_a_peer_never_end_the_node() -> None:
    """A fuzz with a good signature, so that every decoder is reached. Bans are lifted by new keys."""
    rng = random.Random(7)
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5))
        node.take({Kind.VOTE, Kind.PROPOSAL, Kind.BATCH, Kind.TRANSACTIONS})
        for index in range(20, 26):
            async with Rogue(index).linked(node) as rogue:
                for _ in range(20):
                    kind = rng.choice(list(Kind))
                    raw = bytearray(rogue.seal(kind, *SAMPLES[kind])[:-66])
                    for _ in range(rng.randrange(1, 4)):
                        raw[rng.randrange(72, len(raw))] = rng.randrange(256)
                    try:
                        await rogue.write(on_stream(rogue.sign(bytes(raw))))
                    except Exception:
                        break
                await trio.sleep(0.05)
        assert node.links.scores.faults
        good = await start(nursery, 2, config(*node.addresses, heartbeat_s=5))
        await until(good.links.links)


async def _open(host: object, address: str, protocol: str) -> object:
    peer = parse_address(address).node_key
    assert peer is not None
    return await host.new_stream(ID.from_base58(peer_id_of(peer)), [TProtocol(protocol)])  # type: ignore[attr-defined]


async def test_garbage_on_every_protocol_the_host_answers_ends_nothing() -> None:
    rng = random.Random(11)
    garbage = [
        b"",
        b"\x00" * 40,
        b"\xff" * 40,
        rng.randbytes(4_000),
        b"\x28" + rng.randbytes(40),
        b"\x08\x01\x12\x04/pk/",
        # A DHT PUT_VALUE whose /pk/ key does not decode.
        msgspec.msgpack.encode({"k": 1}) + b"\x1a\x10\x08\x00\x12\x06/pk/zz\x1a\x02ab",
    ]
    async with running() as nursery:
        node = Node(1, config(dht=True, heartbeat_s=5))
        discovery = Discovery(node.links)
        node.addresses = await nursery.start(node.links.run)
        nursery.start_soon(discovery.run)
        await until(lambda: any("kad" in name for name in node.links.host.protocols()))
        protocols = node.links.host.protocols()
        assert any("ping" in name for name in protocols)
        client = new_host()
        tried = 0
        async with client.run([Multiaddr("/ip4/127.0.0.1/tcp/0")]):
            for protocol in protocols:
                for junk in garbage:
                    with trio.move_on_after(2), contextlib.suppress(Exception):  # hung up on, and comes back
                        await client.connect(info_from_p2p_addr(Multiaddr(node.addresses[0])))
                        stream = await _open(client, node.addresses[0], protocol)
                        await stream.write(junk)  # type: ignore[attr-defined]
                        await stream.close()  # type: ignore[attr-defined]
                        tried += 1
            await trio.sleep(0.3)
            assert tried > len(protocols) * len(garbage) // 2
        good = await start(nursery, 2, config(*node.addresses, heartbeat_s=5))
        await until(good.links.links)


async def test_garbage_instead_of_noise_and_floods_of_connections_end_nothing() -> None:
    async with running() as nursery:
        node = await start(nursery, 1, config(links_max=4, heartbeat_s=5))
        port = parse_address(node.addresses[0]).port
        sockets = []
        for index in range(60):
            socket = await trio.open_tcp_stream("127.0.0.1", port)
            sockets.append(socket)
            try:
                await socket.send_all(os.urandom(200) if index % 2 else b"\x13/multistream/1.0.0\n")
            except trio.BrokenResourceError:
                continue
        for socket in sockets:
            await socket.aclose()
        good = await start(nursery, 2, config(*node.addresses, heartbeat_s=5))
        await until(good.links.links)


async def test_half_open_handshakes_push_out_each_other_and_give_their_places_back() -> None:
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5))
        port = parse_address(node.addresses[0]).port
        sockets = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(3 * HANDSHAKES_MAX)]
        host = node.links.host
        await until(lambda: host.faults["handshakes pushed out"] >= 2 * HANDSHAKES_MAX)
        good = await start(nursery, 2, config(*node.addresses, heartbeat_s=5))
        await until(good.links.links)
        for socket in sockets:
            await socket.aclose()
        resources = host.swarm._resource_manager
        assert resources is not None
        await until(lambda: resources._current_connections <= 2)


async def test_inbound_connections_that_ended_leave_room_for_others() -> None:
    """The library keeps each one's place until the host ends; with 4 links there are 40 places."""
    async with running() as nursery:
        node = await start(nursery, 1, config(links_max=4, heartbeat_s=5))
        port = parse_address(node.addresses[0]).port
        for _ in range(120):
            socket = await trio.open_tcp_stream("127.0.0.1", port)
            await socket.aclose()
        good = await start(nursery, 2, config(*node.addresses, heartbeat_s=5))
        await until(good.links.links)


async def test_a_plain_libp2p_client_is_answered_identify_and_ping() -> None:
    async with running() as nursery:
        node = await start(nursery, 1, config())
        client = new_host()
        async with client.run([Multiaddr("/ip4/127.0.0.1/tcp/0")]):
            await client.connect(info_from_p2p_addr(Multiaddr(node.addresses[0])))
            peer = ID.from_base58(peer_id_of(node.links.node_key))
            with trio.fail_after(5):
                assert len(await PingService(client).ping(peer, 2)) == 2
                stream = await client.new_stream(peer, [TProtocol("/ipfs/id/1.0.0")])
                identify = Identify()
                identify.ParseFromString(await read_length_prefixed_protobuf(stream))
            assert "/prsm/1" in identify.protocols
            assert "/ipfs/ping/1.0.0" in identify.protocols


async def test_large_answers_to_one_link_are_made_one_at_a_time() -> None:
    working: list[int] = [0, 0]

    async def answer(link: Link, wanted: Wanted) -> bytes | None:
        working[0] += 1
        working[1] = max(working)
        await trio.sleep(0.01)
        working[0] -= 1
        return b"blocks"

    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5), answer=answer)
        async with Rogue(9).linked(node) as rogue:
            asked = [Request(number, BlocksWanted(1, 64)) for number in range(1, 11)]
            await rogue.write(on_stream(rogue.seal(Kind.REQUEST, *asked)))
            await until(lambda: node.links.stats()["frames_out"] > 2 and working[1] > 0)
            await trio.sleep(0.3)
    assert working == [0, 1]


class Burnt:
    """A stopwatch that a handler moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def burn(self, link: Link, messages: list[object], raw: list[bytes]) -> None:
        self.seconds += 0.05 * len(messages)


async def test_a_peer_whose_frames_cost_too_much_is_read_less_and_then_banned() -> None:
    burnt = Burnt()
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5), stopwatch=lambda: burnt.seconds)
        node.links.handle(Kind.TRANSACTIONS, burnt.burn)
        async with Rogue(9).linked(node) as rogue:
            began = trio.current_time()
            with contextlib.suppress(Exception):
                while not node.down:
                    await rogue.write(on_stream(rogue.seal(Kind.TRANSACTIONS, *[b"dear"] * 10)))
            await until(lambda: node.down, within_s=20)
            elapsed = trio.current_time() - began
        assert node.down[0].ended == "banned: costs_too_much"
        assert node.links.stats()["reads_delayed"] >= 4
        # Its burst, its share, and the one frame after which it has to wait.
        assert burnt.seconds <= STRANGER_SHARE * (BURST_S + elapsed) + 1.0
        spent_s = node.links.conduct.cpu.spent_s(rogue.key.public)
        assert spent_s == pytest.approx(burnt.seconds, abs=0.1), "what is read of the connection comes on top"


async def test_what_was_checked_on_anothers_account_is_not_charged_twice() -> None:
    burnt = Burnt()
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5), stopwatch=lambda: burnt.seconds)

        def check_for_another(link: Link, messages: list[object], raw: list[bytes]) -> None:
            burnt.seconds += 0.05
            node.links.checked(b"another".ljust(32), int(0.04 / SIGNATURE_CHECK_S))

        node.links.handle(Kind.TRANSACTIONS, check_for_another)
        async with Rogue(9).linked(node) as rogue:
            await rogue.write(on_stream(rogue.seal(Kind.TRANSACTIONS, b"a vote that made a quorum")))
            await until(lambda: burnt.seconds > 0)
            await until(lambda: node.links.conduct.cpu.spent_s(rogue.key.public) > 0)
        assert node.links.conduct.cpu.spent_s(rogue.key.public) == pytest.approx(0.01, abs=1e-4)
        assert node.links.conduct.cpu.spent_s(b"another".ljust(32)) == pytest.approx(0.04, abs=1e-4)
