"""A made chain that four validators certify, for what follows headers and signatures."""

from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from consensus.blocks import Block, block_digest
from consensus.certificates import CheckedCertificate, certificate_of
from consensus.evidence import VoteEquivocation
from consensus.validators import ValidatorSet
from consensus.votes import CheckedVote, Vote, VoteKind, vote_signed_bytes
from prsm_node.genesis import genesis
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.storage import set_changes
from prsm_node.storage.blocks import BatchRecord
from prsm_node.storage.executed_block import Execution
from prsm_node.storage.snapshot_folder import Snapshot, SnapshotFolder
from prsm_node.storage.state import State
from tests.storage.made_chain import FUNDS, Chain, address
from tests.storage.made_snapshots import taken

KEYS = [SigningKey.from_seed(bytes([n]) * 32) for n in range(4)]
SET = ValidatorSet((key.public, 1) for key in KEYS)


class CertifiedChain(Chain):
    def __init__(self, accounts: int = 40, name: str = "certified") -> None:
        super().__init__(accounts)
        validators = [(key.public, 1, f"node{n}") for n, key in enumerate(KEYS)]
        self.genesis = genesis(name, 1_000, validators, [(address(n), FUNDS) for n in range(accounts)])
        self.headers: dict[int, Block] = {}
        self.convicts: dict[int, SigningKey] = {}
        """By the height whose block convicts."""

    def run_bodies(self, state: State, *positions: int) -> Execution:
        height = state.height + 1
        root = state.header_root(height)
        assert root is not None
        proposer = KEYS[0].public
        evidence = (self.signed_twice(self.convicts[height]),) if height in self.convicts else ()
        named = state.roster.term(height + 1).set.hash
        block = Block(height, state.digest, 1_000 + height, proposer, (), evidence, root, named)
        digest = block_digest(block)
        self.headers[height] = block
        batches = [BatchRecord(proposer, position, digest, position) for position in positions]
        bodies = [self.read_body(position) for position in positions]
        commit = self.commit(block, [key for key in KEYS if key.public in state.roster.term(height).set][:3])
        execution = state.execute(block, digest, commit, batches, bodies)
        set_changes.keep(state, block, commit)
        return execution

    def signed_twice(self, key: SigningKey) -> VoteEquivocation:
        nil = Vote(VoteKind.PREVOTE, 1, 0, None, -1, 0, key.public, b"")
        votes = (nil, replace(nil, value=bytes(32)))
        first, second = (
            replace(vote, signature=key.sign(vote_signed_bytes(self.genesis.hash, vote))) for vote in votes
        )
        return VoteEquivocation(first, second)

    def commit(self, block: Block, keys: Sequence[SigningKey]) -> CheckedCertificate:
        votes = []
        for key in keys:
            vote = Vote(VoteKind.PRECOMMIT, block.height, 0, block_digest(block), -1, 0, key.public, b"")
            signature = key.sign(vote_signed_bytes(self.genesis.hash, vote))
            votes.append(CheckedVote(replace(vote, signature=signature)))
        return certificate_of(votes)


async def snapshot_at(chain: CertifiedChain, directory: Path, height: int, above: int = 2) -> Snapshot:
    """Grow the chain to `height` and `above` more, and return the snapshot taken there."""
    state = chain.open(directory / "state")
    for _ in range(height):
        chain.run(state)
    await state.commit()
    folder = SnapshotFolder(directory / "snapshots")
    folder.open()
    taken(chain, state, folder)
    for _ in range(above - 2):
        chain.run(state)
    state.close()
    snapshot = folder.newest
    assert snapshot is not None
    return snapshot
