"""A chain made from a seed for tests of the state: the same blocks in every process, unsigned."""

import random
from hashlib import sha256
from pathlib import Path

import msgspec

from consensus.blocks import Block, block_digest
from consensus.certificates import Certificate
from consensus.votes import VoteKind
from prsm_node.genesis import Genesis, genesis
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.ledger.transactions import Transfer, unsigned_bytes, with_signature
from prsm_node.storage.blocks import BatchRecord
from prsm_node.storage.environment import MAP_BYTES
from prsm_node.storage.executed_block import Execution
from prsm_node.storage.state import State

AUTHOR = SigningKey.from_seed(bytes(32)).public
NO_DIGEST = bytes(32)
FUNDS = 10**12


def address(number: int) -> bytes:
    return b"\x01" + sha256(b"account %d" % number).digest()


def transfer(
    sender: bytes, nonce: int, *to: tuple[bytes, int], fee: int | None = None, memo: bytes = b""
) -> bytes:
    """A raw transaction; the least fee unless another is named."""
    operations = tuple(Transfer(*operation) for operation in to)
    paid = 1_000 * len(operations) if fee is None else fee
    return with_signature(unsigned_bytes(sender, nonce, paid, operations, memo), bytes(64))


class Chain:
    """Bodies by position, as a journal would have them, and how to execute them."""

    def __init__(self, accounts: int = 40) -> None:
        self.genesis: Genesis = genesis(
            "test", 1_000, [(AUTHOR, 1, "one")], [(address(n), FUNDS) for n in range(accounts)]
        )
        self.accounts = accounts
        self.bodies: dict[int, bytes] = {}

    def read_body(self, position: int) -> bytes:
        if position not in self.bodies:
            height = position // 10
            self.bodies[position] = self.body_at(height)
        return self.bodies[position]

    def open(self, directory: Path, map_bytes: int = MAP_BYTES, sync: bool = False) -> State:
        return State.open(directory, self.genesis, self.read_body, map_bytes=map_bytes, sync=sync)

    def body_at(self, height: int, count: int = 30) -> bytes:
        """Block `height`'s only body when none is given: transfers among old accounts and to new ones.

        Every account sends in each block in its turn, so that nonces follow from the height alone.
        """
        choice = random.Random(height)
        raws = []
        for number in range(count):
            sender = number % self.accounts
            nonce = (height - 1) * ((count - 1 - sender) // self.accounts + 1) + number // self.accounts
            new = choice.random() < 0.3
            to = address(10**6 + height * 1_000 + number if new else choice.randrange(self.accounts))
            raws.append(transfer(address(sender), nonce, (to, choice.randrange(1, 1_000))))
        choice.shuffle(raws)
        return msgspec.msgpack.encode(raws)

    def run(self, state: State, *raws: bytes) -> Execution:
        """Execute a block of these transactions, or of the made ones where there are none."""
        height = state.height + 1
        position = height * 10
        if raws:
            self.bodies[position] = msgspec.msgpack.encode(list(raws))
        return self.run_bodies(state, position)

    def run_bodies(self, state: State, *positions: int) -> Execution:
        """Execute a block of the bodies at these positions."""
        height = state.height + 1
        root = state.header_root(height)
        assert root is not None
        block = Block(height, state.digest, 1_000 + height, AUTHOR, (), (), root, NO_DIGEST)
        digest = block_digest(block)
        batches = [BatchRecord(AUTHOR, position, NO_DIGEST, position) for position in positions]
        bodies = [self.read_body(position) for position in positions]
        return state.execute(block, digest, commit_of(height, digest), batches, bodies)


def commit_of(height: int, digest: bytes, round: int = 0) -> Certificate:
    return Certificate(VoteKind.PRECOMMIT, height, round, digest, ())
