"""Two nodes with one link, for `bench primitives`: run as a program, it is the one that answers."""

import time
from hashlib import sha256
from typing import Final

import trio

from prsm_node.bench.report import BenchFailed
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.network.config import NetworkConfig
from prsm_node.network.link import Link
from prsm_node.network.links import Links
from prsm_node.wire.payloads import SequenceWanted, Wanted

NETWORK: Final = sha256(b"prsm bench").digest()
UP_S: Final = 10.0
ANSWER_S: Final = 5.0
WARMING: Final = 20
VERSION: Final = "bench"


async def round_trips_ms(address: str, count: int) -> list[float]:
    """Ask the node at `address` `count` times, one after the other. Raise BenchFailed."""
    up = trio.Event()
    config = NetworkConfig(bootstrap=(address,))
    links = Links(config, SigningKey.generate(), NETWORK, version=VERSION, on_link_up=lambda link: up.set())
    taken = []
    async with trio.open_nursery() as nursery:
        await nursery.start(links.run)
        with trio.move_on_after(UP_S):
            await up.wait()
        if not links.links():
            raise BenchFailed(f"no link to {address} within {UP_S:g} s")
        (link,) = links.links()
        for _ in range(WARMING + count):
            started = time.perf_counter()
            await links.ask(link, SequenceWanted(bytes(32)), ANSWER_S)
            taken.append((time.perf_counter() - started) * 1_000)
        nursery.cancel_scope.cancel()
    return taken[WARMING:]


async def answer_until_killed() -> None:
    """Print the address, then answer."""

    async def answer(link: Link, wanted: Wanted) -> bytes | None:
        return bytes(8)

    links = Links(NetworkConfig(), SigningKey.generate(), NETWORK, version=VERSION, answer=answer)
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(links.run)
        print(address, flush=True)


if __name__ == "__main__":
    trio.run(answer_until_killed)
