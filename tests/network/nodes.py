"""Nodes on real loopback sockets for the network's tests, and a rogue peer that speaks raw libp2p."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from consensus.signing import SignedKind, signed_prefix
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.network.addresses import parse_address
from prsm_node.network.asking import Answer
from prsm_node.network.config import NetworkConfig
from prsm_node.network.host import Host
from prsm_node.network.link import Link
from prsm_node.network.links import Links
from prsm_node.wire.frames import FrameSealer, encode_message
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import Greeting
from prsm_node.wire.stream import on_stream

NETWORK = b"\x07" * 32
ITS_OWN = {
    Kind.HELLO,
    Kind.HEARTBEAT,
    Kind.REQUEST,
    Kind.RESPONSE,
    Kind.PEERS,
    Kind.GOSSIP,
    Kind.HAVE,
    Kind.WANT,
}


def key(index: int) -> SigningKey:
    return SigningKey.from_seed(bytes((index,)) * 32)


class Session:
    """A validator session, as identity's sign guard gives one."""

    def __init__(self, validator: SigningKey, session: bytes = b"session1") -> None:
        self._validator = validator
        self.key = validator.public
        self.session = session

    def sign_session(self, message: bytes) -> bytes:
        return self._validator.sign(message)


class Node:
    """Links, with what came and which links went up and down."""

    def __init__(self, index: int, config: NetworkConfig, **arguments: Any) -> None:
        self.came: list[tuple[Kind, Any, bytes]] = []
        self.up: list[Link] = []
        self.down: list[Link] = []
        self.addresses: tuple[str, ...] = ()
        self.links = Links(
            config,
            key(index),
            NETWORK,
            version="test",
            on_link_up=self.up.append,
            on_link_down=self.down.append,
            **arguments,
        )

    def take(self, kinds: set[Kind]) -> None:
        """Keep what comes of these kinds."""
        for kind in kinds:
            self.links.handle(kind, self._taker(kind))

    def _taker(self, kind: Kind) -> Callable[[Link, list[Any], list[bytes]], None]:
        def took(link: Link, messages: list[Any], raw: list[bytes]) -> None:
            self.came += [(kind, message, encoded) for message, encoded in zip(messages, raw, strict=True)]

        return took


def config(*bootstrap: str, **settings: Any) -> NetworkConfig:
    return NetworkConfig(bootstrap=bootstrap, **({"exchange_peers": False, "heartbeat_s": 0.3} | settings))


async def start(
    nursery: trio.Nursery,
    index: int,
    settings: NetworkConfig,
    *,
    answer: Answer | None = None,
    **arguments: Any,
) -> Node:
    """Run a node in the nursery until that ends."""
    if answer is not None:
        arguments["answer"] = answer
    node = Node(index, settings, **arguments)
    node.addresses = await nursery.start(node.links.run)
    return node


@asynccontextmanager
async def running() -> AsyncIterator[trio.Nursery]:
    """A nursery whose nodes are stopped at the end of the block, within seconds."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()


async def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    """Wait for what must become true."""
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


class Rogue:
    """A peer that holds a node key and says what it likes, byte for byte."""

    def __init__(self, index: int, network: bytes = NETWORK) -> None:
        self.key = key(index)
        self.sealer = FrameSealer(network, self.key)
        self.host = Host(self.key.seed(), 8, 3.0)
        self.sequence = 0
        self.stream: Any = None

    @asynccontextmanager
    async def linked(self, node: Node, greet: bool = True) -> AsyncIterator["Rogue"]:
        """Dial a node and greet it."""
        async with self.host.run([parse_address("/ip4/127.0.0.1/tcp/0")]):
            await self.dial(node, greet)
            yield self

    async def dial(self, node: Node, greet: bool = True) -> None:
        self.sequence = 0
        with trio.fail_after(5):
            self.stream = await self.host.dial(parse_address(node.addresses[0]))
        if greet:
            await self.write(on_stream(self.seal(Kind.HELLO, self.greeting())))
            await until(lambda: node.links.link(self.key.public) is not None)

    def greeting(self, **changes: Any) -> Greeting:
        fields: dict[str, Any] = {
            "genesis": NETWORK,
            "version": "rogue",
            "listen": (),
            "height": 0,
            "challenge": bytes(32),
            "instance": bytes(8),
        }
        return Greeting(**(fields | changes))

    def seal(self, kind: Kind, *messages: Any, sequence: int | None = None) -> bytes:
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        return self.sealer.seal(kind, sequence, [encode_message(message) for message in messages])

    def sign(self, content: bytes) -> bytes:
        """Whatever it is, with a good frame signature behind it."""
        signature = self.key.sign(signed_prefix(NETWORK, SignedKind.FRAME) + content)
        return content + b"\xc4\x40" + signature

    async def write(self, data: bytes) -> None:
        with trio.fail_after(5):
            for begin in range(0, len(data), 65_000):
                await self.stream.write(data[begin : begin + 65_000])
