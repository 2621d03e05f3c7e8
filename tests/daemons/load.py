"""Transfers through the control sockets of all nodes, and what each node reported as final.

One sender a node, so that what is lost with a killed node's memory holds up no other node's sender.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import msgspec

from prsm_node.bench.funds import Purse
from prsm_node.control.client import Client
from prsm_node.control.protocol import ControlError, Kind
from prsm_node.control.views import AccountView, FinalBlock, NetworkView
from prsm_node.identity.addresses import address_of
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.ledger.transactions import Transfer

RATE = 40.0
"""Transfers a second for each node."""
TICK_S = 0.05


class Sender(threading.Thread):
    """Submits at one node; after it was away, goes on from the nonce that the node then knows."""

    def __init__(self, home: Path, key: SigningKey, rate: float, transfers: int) -> None:
        super().__init__(name=f"sender-{home.name}", daemon=True)
        self.accepted: list[bytes] = []
        self.refused: dict[str, int] = {}
        self.ending = threading.Event()
        self._home, self._key, self._rate, self._transfers = home, key, rate, transfers

    def run(self) -> None:
        while not self.ending.is_set():
            try:
                with Client(self._home) as client:
                    self._submit(client)
            except ControlError:
                time.sleep(0.1)

    def _submit(self, client: Client) -> None:
        network = client.ask("network", NetworkView)
        account = client.ask("account", AccountView, address=address_of(self._key.public))
        purse, due = Purse(self._key, network, account.next_nonce), 0.0
        while not self.ending.wait(TICK_S):
            due = min(due + self._rate * TICK_S, self._rate)
            payment = (Transfer(purse.address, 1),) * self._transfers
            raws = [purse.pay_many(payment) for _ in range(int(due))]
            due -= len(raws)
            answers = client.ask("submit", list[tuple[bool, str]], transactions=raws) if raws else []
            for raw, (accepted, reason) in zip(raws, answers, strict=True):
                if accepted:
                    self.accepted.append(sha256(raw).digest())
                else:
                    self.refused[reason] = self.refused.get(reason, 0) + 1
            if not all(accepted for accepted, _ in answers):
                return


class Follower(threading.Thread):
    """Keeps what a node reports as final: digest -> height."""

    def __init__(self, home: Path) -> None:
        super().__init__(name=f"follower-{home.name}", daemon=True)
        self.reported: dict[bytes, int] = {}
        self.ending = threading.Event()
        self._home = home

    def run(self) -> None:
        while not self.ending.is_set():
            try:
                with Client(self._home) as client:
                    self._follow(client)
            except ControlError:
                time.sleep(0.1)

    def _follow(self, client: Client) -> None:
        for kind, payload in client.stream("follow", 1.0):
            assert kind is Kind.EVENT
            block = msgspec.msgpack.decode(payload, type=FinalBlock)
            for digest in block.transactions:
                before = self.reported.setdefault(digest, block.height)
                assert before == block.height, f"{digest.hex()} is final in {before} and in {block.height}"
            if self.ending.is_set():
                return


class Load:
    def __init__(
        self, homes: Sequence[Path], keys: Sequence[SigningKey], rate: float, transfers: int
    ) -> None:
        self.senders = [Sender(home, key, rate, transfers) for home, key in zip(homes, keys, strict=False)]
        self.followers = [Follower(home) for home in homes]

    @property
    def final(self) -> int:
        """How many transfers some node has reported as final so far."""
        return max(len(follower.reported) for follower in self.followers)

    def reported(self) -> dict[bytes, int]:
        """Every transfer that any node reported as final, with its height; one height each."""
        found: dict[bytes, int] = {}
        for follower in self.followers:
            for digest, height in list(follower.reported.items()):
                assert found.setdefault(digest, height) == height, f"{digest.hex()} is final at two heights"
        return found

    def stop_sending(self) -> None:
        for sender in self.senders:
            sender.ending.set()
        for sender in self.senders:
            sender.join(15)
            assert not sender.is_alive(), sender.name

    def stop_following(self) -> None:
        for follower in self.followers:
            follower.ending.set()
        for follower in self.followers:
            follower.join(15)
            assert not follower.is_alive(), follower.name


@contextmanager
def load(
    homes: Sequence[Path], keys: Sequence[SigningKey], rate: float = RATE, transfers: int = 1
) -> Iterator[Load]:
    """Send and follow while in the block; both end with it. Each transaction pays `transfers` times."""
    made = Load(homes, keys, rate, transfers)
    for thread in (*made.followers, *made.senders):
        thread.start()
    try:
        yield made
    finally:
        made.stop_sending()
        made.stop_following()
