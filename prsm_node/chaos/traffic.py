"""A load that outlives its nodes: transfers at each node's socket, and what each node reports as final.

One thread sends and one follows at each node, so that a node that stands still holds up no other. Senders pay
themselves; a node that was away is sent the same transfers again, bit for bit, from the nonce that it knows.
"""

import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from prsm_node.bench.funds import Purse
from prsm_node.chaos.chain import Chain
from prsm_node.chaos.finality import Finality
from prsm_node.control.client import RECEIVE_BYTES, Client, connected_socket
from prsm_node.control.protocol import (
    SOCKET_NAME,
    ControlError,
    Kind,
    MalformedMessage,
    Splitter,
    decode_response,
    framed,
)
from prsm_node.control.views import AccountView, FinalBlock, NetworkView, StatusView
from prsm_node.identity.addresses import address_of
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.ledger.transactions import Transfer

TICK_S: Final = 0.05
ANSWER_S: Final = 2.0
AGAIN_S: Final = 0.05
AT_ONCE_MAX: Final = 1_024
HEIGHTS_KEPT: Final = 8_192


class Sender(threading.Thread):
    """Submits at one node at a rate, with several keys in turn."""

    def __init__(self, home: Path, keys: Sequence[SigningKey], rate: float, finality: Finality) -> None:
        super().__init__(name=f"sender-{home.name}", daemon=True)
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self.ending = threading.Event()
        self._home, self._keys, self._rate, self._finality = home, keys, rate, finality

    def run(self) -> None:
        while not self.ending.is_set():
            try:
                with Client(self._home, timeout_s=ANSWER_S) as client:
                    self._submit(client)
            except ControlError:
                self.ending.wait(AGAIN_S)

    def _submit(self, client: Client) -> None:
        """Send until a transfer is refused: then the nonces are asked for anew."""
        network = client.ask("network", NetworkView)
        purses = []
        for key in self._keys:
            account = client.ask("account", AccountView, address=address_of(key.public))
            purses.append(Purse(key, network, account.next_nonce))
        due, turn, last = 0.0, 0, time.monotonic()
        while not self.ending.wait(TICK_S):
            now = time.monotonic()
            due = min(due + self._rate * (now - last), AT_ONCE_MAX)
            last = now
            raws = []
            for _ in range(int(due)):
                purse = purses[turn % len(purses)]
                raws.append(purse.pay_many((Transfer(purse.address, 1),)))
                turn += 1
            if not raws:
                continue
            due -= len(raws)
            digests = [sha256(raw).digest() for raw in raws]
            self._finality.submitted(digests, now)
            answers = client.ask("submit", list[tuple[bool, str]], transactions=raws)
            refused = []
            for digest, (accepted, reason) in zip(digests, answers, strict=True):
                if not accepted:
                    self.refused[reason] += 1
                    refused.append(digest)
            self.accepted += len(raws) - len(refused)
            if refused:
                self._finality.refused(refused)
                return


class Follower(threading.Thread):
    """Takes each block that a node reports, and when."""

    def __init__(self, home: Path, chain: Chain, finality: Finality) -> None:
        super().__init__(name=f"follower-{home.name}", daemon=True)
        self.height = 0
        self.ending = threading.Event()
        self._home, self._chain, self._finality = home, chain, finality
        self._lock = threading.Lock()
        self._times: deque[float] = deque(maxlen=HEIGHTS_KEPT)
        self._heights: deque[int] = deque(maxlen=HEIGHTS_KEPT)

    def reached(self, height: int) -> float | None:
        """When the node first reported this height or a greater one; None where it has not."""
        with self._lock:
            index = bisect_left(self._heights, height)
            return self._times[index] if index < len(self._times) else None

    def first_after(self, moment: float) -> float | None:
        """When the node reported its first block after a moment; None where there was none yet."""
        with self._lock:
            return next((at for at in self._times if at > moment), None)

    def run(self) -> None:
        while not self.ending.is_set():
            try:
                with Client(self._home, timeout_s=ANSWER_S) as client:
                    self._noted(client.ask("status", StatusView).height)
                self._follow()
            except (ControlError, OSError, MalformedMessage, msgspec.DecodeError):
                self.ending.wait(AGAIN_S)

    def _follow(self) -> None:
        splitter = Splitter()
        with connected_socket(self._home / SOCKET_NAME, ANSWER_S) as link:
            link.sendall(framed((1, "follow", {})))
            link.settimeout(0.5)
            while not self.ending.is_set():
                try:
                    received = link.recv(RECEIVE_BYTES)
                except TimeoutError:
                    continue  # no block, or a node that stands still
                if not received:
                    return
                now = time.monotonic()
                for message in splitter.feed(received):
                    response = decode_response(message)
                    if response.kind is not Kind.EVENT:
                        return  # this follower was too slow, and begins again
                    block = msgspec.msgpack.decode(response.payload, type=FinalBlock)
                    self._chain.report(self._home.name, block)
                    self._finality.reported(block.transactions, now)
                    self._noted(block.height)

    def _noted(self, height: int) -> None:
        with self._lock:
            if height > self.height:
                self.height = height
                self._times.append(time.monotonic())
                self._heights.append(height)


class Traffic:
    """Senders and followers at all nodes."""

    def __init__(
        self,
        homes: Sequence[Path],
        keys: Sequence[SigningKey],
        rate: float,
        chain: Chain,
        finality: Sequence[Finality],
    ) -> None:
        """The keys are shared out; `rate` is of all nodes together."""
        count = len(homes)
        self.followers = [Follower(home, chain, of) for home, of in zip(homes, finality, strict=True)]
        self.senders = [
            Sender(home, keys[place::count], rate / count, finality[place])
            for place, home in enumerate(homes)
        ]

    def start(self) -> None:
        for thread in (*self.followers, *self.senders):
            thread.start()

    def stop_sending(self) -> None:
        _end(self.senders)

    def stop_following(self) -> None:
        _end(self.followers)


def _end(threads: Sequence[Sender] | Sequence[Follower]) -> None:
    for thread in threads:
        thread.ending.set()
    for thread in threads:
        thread.join(2 * ANSWER_S)
