"""Chains with real signatures, peers that serve them well or badly, and a node that follows one."""

from collections.abc import Callable, Sequence
from hashlib import sha256

import msgspec
import trio
from msgspec.structs import replace

from consensus.blocks import Block, Tip, block_digest
from consensus.certificates import Certificate, certificate_of
from consensus.dissemination.batches import EMPTY_LANE, BatchHeader, batch_digest, batch_signed_bytes
from consensus.validators import ValidatorSet
from consensus.votes import CheckedVote, Vote, VoteKind, vote_signed_bytes
from prsm_node.consensus_host.answers import SyncedBlock
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.outbox import Refusal
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.sync.trusted_path import TrustedPath
from prsm_node.wire.payloads import Batch, BlocksWanted, Committed, HeadersWanted, Wanted
from tests.sync.peers import Behaviour

NETWORK = b"\x05" * 32
KEYS = [SigningKey.from_seed(bytes((index,)) * 32) for index in range(1, 8)]
FIRST_SET = tuple(KEYS[:4])
ANSWER_BYTES_MAX = 64 * 1024


def set_of(keys: Sequence[SigningKey]) -> ValidatorSet:
    return ValidatorSet((key.public, 1) for key in keys)


class MadeChain:
    """Blocks from 1 on; every third orders a batch. `keys_at` names the validators of a height."""

    def __init__(
        self,
        blocks: int,
        keys_at: Callable[[int], Sequence[SigningKey]] = lambda height: FIRST_SET,
        salt: int = 0,
        body: Callable[[int], bytes] = lambda height: msgspec.msgpack.encode([b"transfer %d" % height]),
    ) -> None:
        self.keys_at = keys_at
        self.items: list[SyncedBlock] = []
        parent, lane = NETWORK, EMPTY_LANE
        for height in range(1, blocks + 1):
            keys = keys_at(height)
            batches: tuple[Batch, ...] = ()
            tips: tuple[Tip, ...] = ()
            if height % 3 == 0:
                made = sealed(FIRST_SET[0], height // 3, lane, body(height))
                lane = batch_digest(made.header)
                batches, tips = (made,), (Tip(FIRST_SET[0].public, height // 3, lane),)
            block = Block(
                height=height,
                parent=parent,
                time_ms=height + salt,
                proposer=keys[0].public,
                tips=tips,
                evidence=(),
                state_root=bytes(32),
                next_validators=set_of(keys_at(height + 1)).hash,
            )
            parent = block_digest(block)
            self.items.append(SyncedBlock(Committed(block, certified(block, keys[:3])), batches))

    def block(self, height: int) -> Block:
        return self.items[height - 1].committed.block

    def digest(self, height: int) -> bytes:
        return block_digest(self.block(height)) if height else NETWORK

    @property
    def height(self) -> int:
        return len(self.items)


def sealed(key: SigningKey, sequence: int, parent: bytes, body: bytes) -> Batch:
    header = BatchHeader(key.public, sequence, parent, sha256(body).digest())
    return Batch(replace(header, signature=key.sign(batch_signed_bytes(NETWORK, header))), body)


def certified(block: Block, keys: Sequence[SigningKey]) -> Certificate:
    votes = []
    for key in keys:
        vote = Vote(VoteKind.PRECOMMIT, block.height, 0, block_digest(block), -1, 0, key.public, b"")
        votes.append(CheckedVote(replace(vote, signature=key.sign(vote_signed_bytes(NETWORK, vote)))))
    return certificate_of(votes)


def serves(
    chain: MadeChain,
    after_s: float = 0.01,
    lie: Callable[[SyncedBlock], SyncedBlock] = lambda item: item,
    busy: Callable[[], bool] = lambda: False,
) -> Behaviour:
    """Answers as a node does that has this chain; `lie` changes each block on its way out."""

    async def behave(wanted: Wanted) -> bytes | Refusal:
        await trio.sleep(after_s)
        if busy():
            return Refusal.BUSY
        if isinstance(wanted, HeadersWanted):
            heights = range(min(wanted.height, chain.height), max(0, wanted.height - wanted.count), -1)
            if wanted.height > chain.height:
                return Refusal.ABSENT
            return msgspec.msgpack.encode(tuple(chain.block(height) for height in heights))
        assert isinstance(wanted, BlocksWanted)
        begin = wanted.from_height - 1
        items = tuple(lie(item) for item in chain.items[begin : begin + wanted.count])
        return msgspec.msgpack.encode(items) if items else Refusal.ABSENT

    return behave


class Follower:
    """A node at genesis; it executes what it takes a moment later, and knows sets as a node does."""

    def __init__(self, truth: MadeChain, heights: dict[int, int], trusted: int | None = None) -> None:
        self.truth = truth
        self.said = heights
        self.checks = Checks(NETWORK)
        self.taken: list[Committed] = []
        self.kept: list[Batch] = []
        self.unchecked: list[Batch] = []
        self.refusals = 0
        self.forks: list[Committed] = []
        self.most_ahead = 0
        self.execution_s = 0.0005
        self._tips: dict[bytes, bytes] = {}
        self._done = 0
        self._trusted = trusted
        self._path: TrustedPath | None = None
        self._grown = trio.Event()
        self.trusts_digest = truth.digest(trusted) if trusted is not None else b""

    def next_height(self) -> int:
        return len(self.taken) + 1

    def executed_height(self) -> int:
        return self._done

    def executed_digest(self) -> bytes:
        return block_digest(self.taken[self._done - 1].block) if self._done else NETWORK

    async def run(self) -> None:
        """Execute what was taken, one block after the other."""
        while True:
            await trio.sleep(self.execution_s)
            if self._done < len(self.taken):
                for tip in self.taken[self._done].block.tips:
                    self._tips[tip.author] = tip.digest
                self._done += 1
                if self._path is not None:
                    self._path.executed(self._done)
                self._grown.set()
                self._grown = trio.Event()

    async def executed(self, height: int) -> None:
        while self._done < height:
            await self._grown.wait()

    def validators(self, height: int) -> ValidatorSet | None:
        return set_of(self.truth.keys_at(height)) if -8 <= height - self._done <= 3 else None

    def certifies(self, certificate: Certificate, validators: ValidatorSet) -> bool:
        return self.checks.commit(certificate, validators) is not None

    def signed(self, header: BatchHeader) -> bool:
        return self.checks.batch(header)

    def executed_tip(self, author: bytes) -> bytes:
        return self._tips.get(author, EMPTY_LANE)

    def take(self, link: int, committed: Committed) -> None:
        expected = block_digest(self.taken[-1].block) if self.taken else NETWORK
        if committed.block.parent != expected:
            self.forks.append(committed)
            return
        assert committed.block.height == self.next_height()
        self.taken.append(committed)
        self.most_ahead = max(self.most_ahead, len(self.taken) - self._done)

    def store(self, batch: Batch) -> None:
        self.unchecked.append(batch)
        self.kept.append(batch)

    async def check(self, link: int, batch: Batch) -> bool:
        await trio.lowlevel.checkpoint()
        self.kept.append(batch)
        return True

    def heights(self) -> dict[int, int]:
        return self.said

    def validates(self, link: int) -> bool:
        return False

    def path(self) -> TrustedPath | None:
        if self._trusted is None or self._done >= self._trusted:
            return None
        if self._path is None:
            digest = self.executed_digest()
            self._path = TrustedPath(self._trusted, self.trusts_digest, self._done, digest)
        return self._path

    def refused(self) -> None:
        self.refusals += 1

    def off_the_way(self) -> None:
        self.refusals += 1
