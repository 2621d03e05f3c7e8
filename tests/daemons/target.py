"""A live daemon under attack: what it counts, if it still works, and what its faulty validator can say."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import trio
from msgspec.structs import replace

from consensus.blocks import Block
from consensus.dissemination.batches import EMPTY_LANE, BatchHeader
from consensus.votes import Vote, VoteKind
from prsm_node.bench.funds import Purse, purse
from prsm_node.cli.passphrase import passphrase_of
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.signer import Signer
from prsm_node.control.client import Client
from prsm_node.control.views import NetworkView, Settled, StatusView
from prsm_node.home import Home
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.identity.keystore import KeyKind, unlock
from prsm_node.wire.payloads import Batch
from tests.daemons.fleet import Net, status
from tests.daemons.hostile_peer import HostilePeer

JUNK_KEY = SigningKey.from_seed(b"j" * 32)
HASH = sha256(b"nothing").digest()


class Target:
    """The first of four validators, three of which run; the key of the fourth is the attacker's."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.home = net.homes[0]
        with Client(self.home) as client:
            self.network = client.ask("network", NetworkView)
            self.address = client.ask("status", StatusView).listen[0]
            self.purse: Purse = purse(self.home, client)
        self.genesis = self.network.genesis_hash
        keys = [
            unlock(Home(home).validator_key, KeyKind.VALIDATOR, passphrase_of(Home(home)))
            for home in net.homes
        ]
        self.honest = [key.public for key in keys[:3]]
        self.key = keys[3]
        self.faulty = Signer(self.genesis, self.key, Checks(self.genesis))
        self.stranger = Signer(self.genesis, JUNK_KEY, Checks(self.genesis))

    def counters(self) -> dict[str, float]:
        with Client(self.home) as client:
            return client.ask("counters", dict[str, float])

    def height(self) -> int:
        """The height that is being agreed on."""
        return status(self.home).height + 1

    async def still_works(self) -> None:
        """A transfer gets final, and no daemon ended."""

        def send() -> Settled:
            with Client(self.home) as client:
                self.purse = purse(self.home, client)
                raw = self.purse.pay(self.purse.address, 1)
                return client.ask("submit_and_wait", Settled, 15.0, transaction=raw, timeout_s=10.0)

        settled = await trio.to_thread.run_sync(send)
        assert settled.outcome == "executed"
        assert all(self.net.runs(home) for home in self.net.homes[:3])

    def memory_mb(self) -> float:
        """Of the daemon's main process."""
        pid = self.net.daemons[self.home].process.pid
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))

    @asynccontextmanager
    async def counts(self, *reasons: str) -> AsyncIterator[None]:
        """Each of these counters goes up while in the block, or in the seconds after it."""
        before = self.counters()
        yield
        missing = set(reasons)
        with trio.move_on_after(6):
            while missing:
                now = self.counters()
                missing = {name for name in missing if now.get(name, 0) <= before.get(name, 0)}
                await trio.sleep(0.02)
        assert not missing, f"not counted: {missing}"
        assert self.net.runs(self.home)

    @asynccontextmanager
    async def attacked(
        self, *reasons: str, validator: SigningKey | None = None, greets: bool = True
    ) -> AsyncIterator[HostilePeer]:
        """A link of a new peer, whose act is counted for these reasons."""
        peer = HostilePeer(self.genesis, validator)
        async with self.counts(*reasons), peer.linked(self.address, greets):
            yield peer
            await trio.sleep(0.1)

    def batch(
        self, sequence: int, body: bytes, parent: bytes = EMPTY_LANE, key: bytes | None = None
    ) -> Batch:
        """A batch of the faulty validator, well signed."""
        author = self.key.public if key is None else key
        header = BatchHeader(author, sequence, parent, sha256(body).digest())
        return Batch(self.faulty.batch(header), body)

    def block(self, height: int, **changes: Any) -> Block:
        made = Block(height, HASH, 1, self.key.public, (), (), HASH, HASH)
        return replace(made, **changes)

    def vote(self, height: int, round_: int = 0, voter: bytes | None = None) -> Vote:
        signed = self.faulty.vote(Vote(VoteKind.PREVOTE, height, round_, HASH, -1, 0, self.key.public))
        return replace(signed, voter=voter or self.key.public)

    def round_of(self, height: int, mine: bool) -> int:
        """The first round of a height in which the faulty validator proposes, or another one."""
        rotation = sorted([*self.honest, self.key.public])
        return next(r for r in range(8) if (rotation[(height + r) % 4] == self.key.public) == mine)
