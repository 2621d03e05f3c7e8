"""One node of the gossip bench: links and gossip, and nothing else of a daemon.

A process of its own (`python -m prsm_node.bench.gossip_node INDEX PORT`) that is told on stdin what to
publish and asked what it received, one JSON object a line; it ends with its stdin.
"""

import sys
import time
from hashlib import sha256
from typing import Final

import msgspec
import trio

from prsm_node import __version__, config_file
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.network.discovery import Discovery
from prsm_node.network.gossip import Gossiper
from prsm_node.network.link import Link
from prsm_node.network.links import Links
from prsm_node.settings import network_config

TOPIC: Final = 7
NETWORK: Final = sha256(b"prsm gossip bench").digest()
FILLED: Final = bytes(200)
"""As much as a transfer."""


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Publish so many, at so many a second; 0 asks only what came."""

    publish: int
    rate: float = 0.0


class Told(msgspec.Struct, frozen=True):
    """What a node has."""

    links: int
    published: int
    latencies_ms: list[float]
    """Of each message that came from another node."""
    repaired: int
    """Messages that this node handed out again because somebody missed them."""


def key(index: int) -> SigningKey:
    """The node key: its networks are gone when the bench ends."""
    return SigningKey.from_seed(sha256(b"prsm gossip bench node %d" % index).digest())


async def run(index: int, port: int) -> None:
    """Serve until stdin ends."""
    config = config_file.load(None, {"network.port": port})
    links = Links(network_config(config), key(index), NETWORK, version=__version__)
    gossip = Gossiper(links, links.config.have_s)
    Discovery(links)
    latencies: list[float] = []

    def take(link: Link, body: bytes) -> bool:
        latencies.append((time.monotonic_ns() - int.from_bytes(body[:8])) / 1e6)
        return True

    gossip.subscribe(TOPIC, take)
    published = 0
    async with trio.open_nursery() as nursery:
        await nursery.start(links.run)
        nursery.start_soon(gossip.run)
        async with trio.lowlevel.FdStream(0) as stdin:
            buffer = b""
            while received := await stdin.receive_some(4_096):
                *lines, buffer = (buffer + received).split(b"\n")
                for line in lines:
                    order = msgspec.json.decode(line, type=Order)
                    began = trio.current_time()
                    for number in range(order.publish):
                        await trio.sleep_until(began + number / order.rate)
                        stamp = time.monotonic_ns().to_bytes(8) + bytes((index,))
                        gossip.publish(TOPIC, stamp + published.to_bytes(8) + FILLED)
                        published += 1
                    told = Told(len(links.links()), published, latencies, links.counters["gossip_repaired"])
                    print(msgspec.json.encode(told).decode(), flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(run, int(sys.argv[1]), int(sys.argv[2]))
