"""The libp2p host of one node, hardened: Noise and Yamux over TCP, and no peer can end the process.

py-libp2p 0.8.1 was read and its traps reproduced; each guard names its own. Private attributes of the library
are used here and nowhere else:

- A handler's exception ends the host: every inbound stream passes `guarded`, whichever protocol it asks for.
- What a peer can do to Yamux is guarded_yamux.py's.
- Whoever comes first takes all places for handshakes and connections, and keeps them: lobby.py bounds both.
- An inbound connection's task and its place under the connection limit are held until the host ends: 300
  connections later nobody gets in. Here they last as long as the connection.
- Outbound identify runs in a system task, whose exception ends trio, and nothing here needs it: it is off.
  Peers' identify requests are answered.
- The auto-connector dials whomever the peerstore holds, banned peers too, whatever its watermarks: it is off.
"""

import logging
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
from prsm_node.network import guarded_yamux
from prsm_node.network.addresses import Address, address_seen, host_of, node_key_of_bytes, peer_id_of
from prsm_node.network.groups import group_of_host
from prsm_node.network.guarded_yamux import GuardedYamux
from prsm_node.network.lobby import Arrivals, Lobby
from prsm_node.network.transport import Stream

PROTOCOL = TProtocol("/prsm/1")
STREAMS_MAX = 16  # of one connection, opened by the peer; ours is one, the DHT's a few
# Connections whose handshake is under way, and those that came and have no link: libp2p's own protocols need
# none. A handshake takes a quarter of a second, NEGOTIATE_S at most.
HANDSHAKES_MAX = 64
GUESTS_MAX = 32
# What all connections together may hold unread: sixteen that use their bound. Links are read at once, and
# those that are read less (cpu_budget.py) hold a window of 2 MiB.
HELD_BYTES_ALL_MAX = 128 * 1024 * 1024
CLOSE_S = 2.0
NEGOTIATE_S = 5

StreamHandler = Callable[[INetStream], Awaitable[None]]


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
            return "" if remote is None else address_seen(remote[0], remote[1])
        except Exception:  # whatever the library makes of a socket that is gone
            return ""

    async def drop(self) -> None:
        await self._host.drop(getattr(self._stream, "swarm_conn", None))


class Host:
    """A running libp2p host: streams come to the handler of PROTOCOL; dial() makes them."""

    def __init__(self, seed: bytes, links_max: int, stall_s: float) -> None:
        """`seed`: of the node key."""
        guarded_yamux.take_the_place_of_the_librarys()
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
        self.blame: Callable[[bytes, str], None] = lambda node_key, reason: None
        self.refuses: Callable[[bytes], bool] = lambda node_key: False
        self.costs: Callable[[bytes, float], float] = lambda node_key, seconds: 0.0
        self.stall_s = stall_s
        self._held: dict[GuardedYamux, int] = {}
        self._held_all = 0
        self._arrivals = Arrivals()
        self._handshakes: Lobby[RawConnection] = Lobby(HANDSHAKES_MAX)
        self._guests: Lobby[GuardedYamux] = Lobby(GUESTS_MAX)
        # Above its own bounds, for it turns away whoever comes when it is full.
        setattr(swarm, "_inbound_limiter", trio.CapacityLimiter(connections_max + HANDSHAKES_MAX))  # noqa: B010
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
            muxed = stream.muxed_conn
            if isinstance(muxed, GuardedYamux):
                self._guests.leave(muxed)  # links.py looks after it from here
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
        group = group_of_host(_remember_address(socket))
        try:
            if not self._arrivals.admit(group, trio.current_time()):
                self.faults["arrived too fast"] += 1
                return
            if (leaves := self._handshakes.enter(raw, group)) is not None:
                self.faults["handshakes pushed out"] += 1
                # Never cancelled: the library then forgets to give its place under the connection limit back.
                await self._close_raw(leaves)
            muxed = await self.swarm.upgrade_inbound_raw_conn(raw, address)
            self._handshakes.leave(raw)
            if isinstance(muxed, GuardedYamux):
                if self.refuses(muxed.node_key):
                    self.faults["banned"] += 1
                    await muxed.abort()
                await self._stays(muxed, group)
        except Exception as error:
            self.faults[f"inbound: {type(error).__name__}"] += 1
        finally:
            self._handshakes.leave(raw)
            await self._close_raw(raw)

    async def _close_raw(self, raw: RawConnection) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S):
            try:
                await raw.close()
            except Exception as error:
                self.faults[f"close: {type(error).__name__}"] += 1

    async def _stays(self, muxed: GuardedYamux, group: str) -> None:
        """Wait for the end of a connection that came; as long as it has no link it is a guest."""
        if (leaves := self._guests.enter(muxed, group)) is not None:
            self.faults["guests pushed out"] += 1
            await leaves.abort()
        try:
            await muxed.event_closed.wait()
        finally:
            self._guests.leave(muxed)
            self._held_all -= self._held.pop(muxed, 0)

    def holds_too_much(self, muxed: GuardedYamux, held: int) -> bool:
        """Note what a connection holds unread; True where it holds the most and all together too much."""
        self._held_all += held - self._held.get(muxed, 0)
        self._held[muxed] = held
        if self._held_all <= HELD_BYTES_ALL_MAX:
            return False
        # What was read since its last frame is not known yet, and what ended still counts.
        self._held = {one: one.held_bytes() for one in self._held if not one.is_closed} | {muxed: held}
        self._held_all = sum(self._held.values())
        return self._held_all > HELD_BYTES_ALL_MAX and held >= max(self._held.values())

    async def _new_muxed(self, connection: ISecureConn, peer_id: ID) -> IMuxedConn:
        """Take the place of the library's, which makes a plain Yamux whatever muxer_opt says."""
        muxers = self.swarm.upgrader.muxer_multistream
        protocol, _ = await muxers._selector.select(connection, connection.is_initiator, NEGOTIATE_S)
        muxed = GuardedYamux(connection, peer_id, is_initiator=connection.is_initiator).guarded_by(self)
        return muxers._annotate_connection(muxed, connection, protocol)


def _remember_address(socket: ReadWriteCloser) -> str:
    """Return the host at the other end, "" where that is none. The library gives no address of an IPv6 peer,
    whose socket names flow and scope as well, unless it is remembered."""
    try:
        host, port = socket.stream.socket.getpeername()[:2]  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return ""
    seen = host_of(address_seen(host, port))
    setattr(socket, "_cached_remote_address", (seen, port) if seen else None)  # noqa: B010
    return seen


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
