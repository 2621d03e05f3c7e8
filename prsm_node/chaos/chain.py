"""What the nodes reported as final, kept to be held against what they have at the end."""

import threading
from array import array
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from prsm_node.control.client import Client
from prsm_node.control.following import HASHES_AN_EVENT_MAX
from prsm_node.control.views import BlockView, FinalBlock, StatusView, TransactionView

BROKEN_MAX: Final = 20
"""Of one kind: the first say what the others would."""
LOOKED_UP_MAX: Final = 20_000


class Reported(NamedTuple):
    """A block as a node first reported it."""

    hash: bytes
    transactions: bytes | None
    """The SHA-256 of their hashes in order; None where the block came in parts."""
    transfers: int


class Chain:
    """Every block that any node reported as final; told by the followers' threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reported: dict[int, Reported] = {}
        self.broken: list[str] = []

    def report(self, node: str, block: FinalBlock) -> None:
        """A node reports a block: another block at its height, by any node, is a fork."""
        whole = len(block.transactions) < HASHES_AN_EVENT_MAX
        digest = sha256(b"".join(block.transactions)).digest() if whole else None
        with self._lock:
            known = self._reported.get(block.height)
            if known is None:
                self._reported[block.height] = Reported(block.block_hash, digest, len(block.transactions))
            elif known.hash != block.block_hash:
                self._break(
                    f"{node} reports {_short(block.block_hash)} as final at {block.height}, where "
                    f"{_short(known.hash)} was"
                )
            elif whole and known.transactions not in (None, digest):
                self._break(f"{node} reports other transfers as final in block {block.height}")

    def check(self, homes: Sequence[Path], first: int, progress: Callable[[int, int], None]) -> "Checked":
        """Look at every block from this height on, on every node: what was reported is there, once, at equal
        roots."""
        heights = min(_height(home) for home in homes)
        last = max(self._reported, default=0)
        if heights < last:
            self._break(f"block {last} was reported as final; a node has only {heights}")
        prefixes = array("Q")
        lost = transfers = 0
        clients = [Client(home, timeout_s=30.0) for home in homes]
        try:
            for height in range(first, heights + 1):
                blocks = [client.ask("block", BlockView, height=height) for client in clients]
                told = {(b.hash, b.state_root, sha256(b"".join(b.transactions)).digest()) for b in blocks}
                if len(told) > 1:
                    self._break(f"block {height} differs between the nodes: {len(told)} kinds of it")
                transfers += len(blocks[0].transactions)
                prefixes.extend(int.from_bytes(digest[:8]) for digest in blocks[0].transactions)
                lost += self._lost(height, blocks)
                progress(height, heights)
        finally:
            for client in clients:
                client.close()
        ordered = sorted(prefixes)
        twice = sum(1 for one, next_ in pairwise(ordered) if one == next_)
        if twice:
            self._break(f"{twice} transfers are in two blocks")
        return Checked(heights - first + 1, transfers, lost, twice)

    def _lost(self, height: int, blocks: Sequence[BlockView]) -> int:
        """How many transfers that were reported in this block some node does not have there."""
        known = self._reported.get(height)
        if known is None:
            return 0
        for block in blocks:
            digest = sha256(b"".join(block.transactions)).digest()
            if block.hash != known.hash or known.transactions not in (None, digest):
                self._break(f"block {height} is not the one that was reported as final")
                return known.transfers
        return 0

    def _break(self, sentence: str) -> None:
        if len(self.broken) < BROKEN_MAX:
            self.broken.append(sentence)


class Checked(NamedTuple):
    """What the look at every block found."""

    blocks: int
    transfers: int
    lost: int
    twice: int


def equal_at(homes: Sequence[Path], height: int) -> bool:
    """Whether these nodes have one block with one state root at a height that all have executed."""
    told = set()
    for home in homes:
        with Client(home) as client:
            block = client.ask("block", BlockView, height=height)
            told.add((block.hash, block.state_root))
    return len(told) == 1


def final_by_now(home: Path, digests: Sequence[bytes]) -> int:
    """How many of these a node has in a block; of a sample of them, where they are very many."""
    looked_up = digests[:: max(1, -(-len(digests) // LOOKED_UP_MAX))]
    found = 0
    with Client(home) as client:
        for digest in looked_up:
            found += _is_final(client, digest)
    return found * len(digests) // max(1, len(looked_up))


def _is_final(client: Client, digest: bytes) -> bool:
    from prsm_node.control.protocol import ControlError

    try:
        return client.ask("tx", TransactionView, hash=digest).height is not None
    except ControlError as error:
        if error.code != "not_found":
            raise
        return False


def _height(home: Path) -> int:
    with Client(home) as client:
        return client.ask("status", StatusView).height


def _short(digest: bytes) -> str:
    return digest.hex()[:12]
