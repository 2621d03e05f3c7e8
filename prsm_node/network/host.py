"""The libp2p host of one node, hardened: Noise and Yamux over TCP, and no peer can end the process.

py-libp2p 0.8.1 was read and its traps reproduced; each guard names its own. Private attributes of the library
are used here and nowhere else:

- A handler's exception ends the host: every inbound stream passes `guarded`, whichever protocol it asks for.
- A cancelled write leaves half a Noise message on the connection, which then is silent for ever: a message,
  once begun, is written whole within a deadline, or the connection is broken.
- Receive buffers grow past their window: a connection that holds more than HELD_BYTES_MAX is broken.
- An inbound connection's task and its place under the connection limit are held until the host ends: 300
  connections later nobody gets in. Here they last as long as the connection.
- Outbound identify runs in a system task, whose exception ends trio, and nothing here needs it: it is off.
  Peers' identify requests are answered.
- The auto-connector dials whomever the peerstore holds, banned peers too, whatever its watermarks: it is off.
"""

import logging
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from libp2p import new_host
from libp2p.abc import IMuxedConn, INetConn, INetStream, ISecureConn
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.rcmgr import ResourceLimits, ResourceManager
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux import yamux
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from prsm_node.errors import OperatorError
from prsm_node.network.addresses import Address, node_key_of_bytes, peer_id_of
from prsm_node.network.transport import Stream

PROTOCOL = TProtocol("/prsm/1")
WRITE_BYTES_MAX = 65_000  # a full Yamux frame is split into two Noise messages
READ_BYTES_MAX = 256 * 1024
# Receive window of a stream: at 80 ms of round trip 25 MB/s. The library's 16 MiB on each of 16 streams of 64
# connections would let idle peers hold 16 GB.
WINDOW_BYTES_MAX = 2 * 1024 * 1024
# Unread bytes on one connection: our stream's window, 16 others' of 256 KiB, and some slack. A peer that
# holds to its windows never reaches it.
HELD_BYTES_MAX = 8 * 1024 * 1024
STREAMS_MAX = 16  # of one connection, opened by the peer; ours is one, the DHT's a few
CLOSE_S = 2.0
NEGOTIATE_S = 5
FRAME_HEADER = struct.Struct(yamux.YAMUX_HEADER_FORMAT)

StreamHandler = Callable[[INetStream], Awaitable[None]]


class HeldTooMuch(trio.TooSlowError):
    """A peer sends more than its windows allow. Yamux closes a connection on any TooSlowError."""


class QuietStream(yamux.YamuxStream):
    """A Yamux stream that costs a frame a message and not two.

    The library gives credit back at every read, so that each small message is answered by a frame; here it is
    given back when half of the window is used. Its locks are not needed where nothing is awaited between.
    """

    async def write(self, data: bytes) -> None:
        size = len(data)
        if self.send_closed or self.closed or size > min(self.send_window, WRITE_BYTES_MAX):
            await super().write(data)  # waits for credit, cuts into frames, says why it cannot
            return
        self.send_window -= size
        header = FRAME_HEADER.pack(0, yamux.TYPE_DATA, 0, self.stream_id, size)
        await self.conn._write_frame(header + data)

    async def read(self, n: int | None = -1) -> bytes:
        connection, number = self.conn, self.stream_id
        while True:
            buffer = connection.stream_buffers.get(number)
            over = self.recv_closed or self.closed or connection.event_shutting_down.is_set()
            if buffer is None or over:
                return await super().read(n)  # knows the many ways in which a stream ends
            if buffer:
                size = len(buffer) if n is None or n < 0 else min(n, len(buffer))
                data = bytes(memoryview(buffer)[:size])
                del buffer[:size]
                await self._auto_tune_and_send_window_update(bytes_read=size)
                return data
            await connection.stream_events[number].wait()
            if number in connection.stream_events:
                connection.stream_events[number] = trio.Event()

    async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:
        held = len(self.conn.stream_buffers.get(self.stream_id, b""))
        credit = self.target_recv_window - self.recv_window - held
        if credit < self.target_recv_window // 2:
            return
        # Half a window came: let the next be larger, up to the bound.
        growth = min(self.target_recv_window, WINDOW_BYTES_MAX - self.target_recv_window)
        self.target_recv_window += growth
        self.recv_window += credit + growth
        await self.send_window_update(credit + growth)


class GuardedYamux(yamux.Yamux):
    """A Yamux connection that a peer can break but not wedge, and whose end harms nothing else."""

    stall_s = 3.0
    faults: Counter[str] = Counter()

    async def start(self) -> None:
        try:
            await super().start()
        except Exception as error:
            self.faults[f"yamux: {type(error).__name__}"] += 1
            await self.abort()
        finally:
            self.event_started.set()  # whoever waits for the start learns that it is over

    async def _write_frame(self, data: bytes) -> None:
        """Write one Yamux frame whole. Cancelling takes effect before it or after it."""
        async with self._write_lock:
            deadline = trio.current_time() + self.stall_s
            with trio.CancelScope(shield=True, deadline=deadline) as scope:
                await self.secured_conn.write(data)
        if scope.cancelled_caught:
            await self.abort()
            raise ConnectionClosedError("the peer took no bytes", transport="tcp")

    async def _read_data_body(self, length: int) -> bytes:
        if length + sum(map(len, self.stream_buffers.values())) > HELD_BYTES_MAX:
            self.faults["held too much"] += 1
            raise HeldTooMuch
        return await super()._read_data_body(length)

    async def abort(self) -> None:
        """Close the socket; the reading task then takes the connection down. Never raises."""
        self.event_shutting_down.set()
        try:
            await self.secured_conn.close()
        except Exception as error:
            self.faults[f"close: {type(error).__name__}"] += 1


class PeerStream:
    """A stream of PROTOCOL (transport.py). Reads and writes are the library's own, without a call between."""

    def __init__(self, host: "Host", stream: INetStream) -> None:
        self.read = stream.read
        self.write = stream.write
        self.node_key = node_key_of_bytes(stream.muxed_conn.peer_id.to_bytes())
        self._host = host
        self._stream = stream

    @property
    def address(self) -> str:
        try:
            remote = self._stream.get_remote_address()
        except Exception:
            return ""
        if remote is None:
            return ""
        return f"/ip{6 if ':' in remote[0] else 4}/{remote[0]}/tcp/{remote[1]}"

    async def drop(self) -> None:
        await self._host.drop(getattr(self._stream, "swarm_conn", None))


class Host:
    """A running libp2p host: streams come to the handler of PROTOCOL; dial() makes them."""

    def __init__(self, seed: bytes, links_max: int, stall_s: float) -> None:
        """`seed`: of the node key."""
        yamux.MAX_WINDOW_SIZE = WINDOW_BYTES_MAX
        setattr(yamux, "YamuxStream", QuietStream)  # noqa: B010
        logging.getLogger("libp2p").setLevel(logging.CRITICAL)  # peers' faults are counted, not printed
        keys = create_new_key_pair(seed)
        # Twice the links: a peer that dials while it is dialled has two for a moment.
        connections_max = 2 * links_max
        resources = ResourceManager(
            limits=ResourceLimits(connections_max, max_streams=connections_max * 2 * STREAMS_MAX),
            enable_metrics=False,
            enable_memory_limits=False,
            enable_circuit_breaker=False,
            enable_graceful_degradation=False,
            connections_per_peer_per_sec=20.0,
        )
        noise = NoiseTransport(keys, noise_privkey=create_noise_key_pair().private_key)
        host = new_host(
            key_pair=keys,
            sec_opt={TProtocol(NOISE_PROTOCOL_ID): noise},
            muxer_opt={TProtocol(yamux.PROTOCOL_ID): GuardedYamux},
            negotiate_timeout=NEGOTIATE_S,
            resource_manager=resources,
            connection_config=ConnectionConfig(
                max_connections=connections_max,
                min_connections=0,
                low_watermark=0,
                high_watermark=connections_max,
                max_connections_per_peer=4,
                dial_timeout=NEGOTIATE_S,
                inbound_upgrade_timeout=NEGOTIATE_S,
                outbound_upgrade_timeout=NEGOTIATE_S,
                inbound_stream_protocol_negotiation_timeout=NEGOTIATE_S,
                outbound_stream_protocol_negotiation_timeout=NEGOTIATE_S,
                auto_connect_interval=3_600.0,
            ),
            disable_identify_address_discovery=True,
        )
        assert isinstance(host, BasicHost), "new_host gives a BasicHost where no routing is asked for"
        swarm = host.get_network()
        assert isinstance(swarm, Swarm), "a BasicHost's network is a Swarm"
        self.libp2p = host
        self.swarm = swarm
        self.faults: Counter[str] = Counter()
        """What peers did to the library, by kind."""
        self._stall_s = stall_s
        swarm.retry_config = RetryConfig(max_retries=0)  # redialling is links.py's
        swarm.set_stream_handler(self._guarded(host._swarm_stream_handler))
        setattr(swarm, "_do_handle_inbound_connection", self._inbound)  # noqa: B010
        setattr(swarm.upgrader.muxer_multistream, "new_conn", self._new_muxed)  # noqa: B010
        setattr(host, "_schedule_identify", lambda peer_id, *, reason: None)  # noqa: B010
        setattr(swarm, "_schedule_auto_connect", lambda: None)  # noqa: B010
        setattr(swarm.auto_connector, "run_background_task", _nothing)  # noqa: B010

    @asynccontextmanager
    async def run(self, listen: Sequence[Address]) -> AsyncIterator[list[Address]]:
        """Listen; give the bound addresses, with peer ids. OperatorError where one cannot be bound."""
        for address in listen:
            await _refuse_taken_port(address)
        async with self.libp2p.run([Multiaddr(address.transport) for address in listen]):
            bound = self.listening()
            if len(bound) < len(listen):
                raise OperatorError(
                    f"cannot listen on {', '.join(map(str, listen))}; choose another host or port."
                )
            try:
                yield bound
            finally:
                await self._end()

    def listening(self) -> list[Address]:
        """The addresses that are bound, each with this node's key."""
        own = node_key_of_bytes(self.libp2p.get_id().to_bytes())
        bound = []
        for address in self.libp2p.get_transport_addrs():
            parts = str(address).split("/")
            bound.append(Address(parts[1], parts[2], int(parts[4]), own))
        return bound

    def handle(self, handler: Callable[[Stream], Awaitable[None]]) -> None:
        """Give inbound streams of PROTOCOL to `handler`."""

        async def handle(stream: INetStream) -> None:
            await handler(PeerStream(self, stream))

        self.libp2p.set_stream_handler(PROTOCOL, handle)

    def protocols(self) -> list[str]:
        """Every protocol id that this host answers."""
        return [str(protocol) for protocol in self.libp2p.get_mux().get_protocols()]

    async def dial(self, address: Address) -> PeerStream:
        """Connect and open a stream of PROTOCOL. Any exception says that it failed; nothing is left behind.

        Each dial makes a connection of its own, so that dropping a link never takes another one along. The
        caller sets the deadline.
        """
        assert address.node_key is not None, "whom to expect is part of an address that is dialled"
        peer_id = ID.from_base58(peer_id_of(address.node_key))
        self.swarm._negative_peer_cache.evict(str(peer_id))
        connection = await self.swarm.dial_addr(Multiaddr(address.transport), peer_id)
        try:
            stream = await connection.new_stream()
            communicator = MultiselectCommunicator(stream)
            chosen = await self.libp2p.multiselect_client.select_one_of([PROTOCOL], communicator, NEGOTIATE_S)
            stream.set_protocol(chosen)
        except BaseException:
            await self.drop(connection)
            raise
        return PeerStream(self, stream)

    async def drop(self, connection: INetConn | None) -> None:
        """Close a connection, politely for CLOSE_S, then its socket. Never raises, never hangs."""
        if connection is None:
            return
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S):
            try:
                await connection.close()
            except Exception as error:
                self.faults[f"drop: {type(error).__name__}"] += 1
        muxed = connection.muxed_conn
        if isinstance(muxed, GuardedYamux) and not muxed.is_closed:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S):
                await muxed.abort()

    async def _end(self) -> None:
        """Close every socket, so that peers notice at once; the library, cancelled, leaves listeners open."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S):
            for listener in list(self.swarm.listeners.values()):
                try:
                    await listener.close()
                except Exception as error:
                    self.faults[f"close: {type(error).__name__}"] += 1
            for connection in self.swarm.get_connections():
                muxed = connection.muxed_conn
                if isinstance(muxed, GuardedYamux):
                    await muxed.abort()

    def _guarded(self, handler: StreamHandler) -> StreamHandler:
        """Let no exception of a stream's handler, ours or the library's, out of its stream."""

        async def guarded(stream: INetStream) -> None:
            connection = getattr(stream, "swarm_conn", None)
            if connection is not None and len(connection.get_streams()) > STREAMS_MAX:
                self.faults["too many streams"] += 1
                await self._reset(stream)
                return
            try:
                await handler(stream)
            except Exception as error:
                # ExceptionGroup is an Exception too; a group that holds a cancellation is not, and passes.
                self.faults[f"{stream.get_protocol()}: {type(error).__name__}"] += 1
                await self._reset(stream)

        return guarded

    async def _reset(self, stream: INetStream) -> None:
        with trio.move_on_after(CLOSE_S):
            try:
                await stream.reset()
            except Exception as error:
                self.faults[f"reset: {type(error).__name__}"] += 1

    async def _inbound(self, socket: ReadWriteCloser, address: Multiaddr, event: Any) -> None:
        """Take the place of the library's: the same upgrade, but done when the connection is."""
        raw = RawConnection(socket, False)
        try:
            muxed = await self.swarm.upgrade_inbound_raw_conn(raw, address)
            if isinstance(muxed, GuardedYamux):
                await muxed.event_closed.wait()
        except Exception as error:
            self.faults[f"inbound: {type(error).__name__}"] += 1
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S):
                try:
                    await raw.close()
                except Exception as error:
                    self.faults[f"close: {type(error).__name__}"] += 1

    async def _new_muxed(self, connection: ISecureConn, peer_id: ID) -> IMuxedConn:
        """Take the place of the library's, which makes a plain Yamux whatever muxer_opt says."""
        muxers = self.swarm.upgrader.muxer_multistream
        protocol, _ = await muxers._selector.select(connection, connection.is_initiator, NEGOTIATE_S)
        muxed = GuardedYamux(connection, peer_id, is_initiator=connection.is_initiator)
        muxed.faults = self.faults
        muxed.stall_s = self._stall_s
        return muxers._annotate_connection(muxed, connection, protocol)


async def _nothing(nursery: trio.Nursery) -> None:
    """Take the place of the auto-connector's task."""


async def _refuse_taken_port(address: Address) -> None:
    """The library sets SO_REUSEPORT, under which two daemons share a port without a word; so ask first."""
    if address.port == 0 or address.family not in ("ip4", "ip6"):
        return
    family = trio.socket.AF_INET if address.family == "ip4" else trio.socket.AF_INET6
    with trio.socket.socket(family, trio.socket.SOCK_STREAM) as probe:
        probe.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
        try:
            await probe.bind((address.host, address.port))
        except OSError as error:
            text = f"cannot listen on {address.transport}: {error.strerror}; choose another host or port."
            raise OperatorError(text) from None
