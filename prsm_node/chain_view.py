"""The chain of a running node as its control socket shows it: blocks, transactions, accounts, proofs."""

from hashlib import sha256
from typing import TYPE_CHECKING

import trio

from consensus.certificates import Certificate
from consensus.quorum import chain_strength
from prsm_node.account_proof import Evidence
from prsm_node.control.views import AccountView, BlockView, HistoryView, StrengthView, TransactionView
from prsm_node.ledger.outcomes import FIRST_UNCHARGED, Outcome
from prsm_node.storage import set_changes
from prsm_node.storage.blocks import StoredBlock
from prsm_node.storage.history import FoundTransaction, UnknownPosition

if TYPE_CHECKING:
    from prsm_node.node import Node

STRENGTH_AHEAD = 4
"""Later certificates that strengthen a block: those of so many heights are read."""
PROOF_S = 20.0
"""Longest wait for the header that names a root: two blocks, of which at rest one is a heartbeat."""


class ChainView:
    """The look-ups of NodeView (control/node.py). Called on the loop only."""

    def __init__(self, node: "Node") -> None:
        self._node = node

    async def block(self, height: int) -> BlockView | None:
        state = self._node.state
        stored = state.block(height) if height > 0 else None
        if stored is None:
            return None
        record = stored.record
        hashes = [
            sha256(raw).digest()
            for raw, outcome in zip(
                state.transactions.raw(height), state.transactions.outcomes(height), strict=True
            )
            if outcome < FIRST_UNCHARGED
        ]
        return BlockView(
            height=height,
            hash=record.digest,
            state_root=record.state_root,
            proposer=record.block.proposer,
            round=stored.commit.round,
            time_ms=record.block.time_ms,
            transactions=hashes,
            strength=self._strength(height),
        )

    def _strength(self, height: int) -> StrengthView:
        """Return the strength of a block as its own and the next certificates give it, from its parent on."""
        node = self._node
        heights = range(height, min(height + STRENGTH_AHEAD, node.state.height) + 1)
        stored = {h: block for h in heights if (block := node.state.block(h)) is not None}
        powers = {h: node.validators(h).powers for h in heights}
        commits = {h: [_marks(block.commit)] for h, block in stored.items()}
        tolerated = chain_strength(height - 1, height, powers, commits)
        return StrengthView(tolerated, node.validators(height).total)

    async def transaction(self, digest: bytes) -> TransactionView | None:
        found = self._node.state.transactions.find(digest)
        if found is not None:
            return TransactionView(
                hash=digest,
                height=found.height,
                block_hash=found.block_digest,
                index=found.index,
                outcome=_outcome(found.outcome),
                raw=found.raw,
            )
        pending = self._node.mempool.pending(digest)
        if pending is None:
            return None
        return TransactionView(digest, None, None, None, None, pending)

    async def account(self, address: bytes) -> AccountView:
        account = self._node.state.account(address)
        nonce = account.nonce if account is not None else 0
        balance = account.balance if account is not None else 0
        return AccountView(address, balance, nonce, self._node.mempool.next_nonce(address, nonce))

    async def account_proof(self, address: bytes) -> Evidence | None:
        node, state = self._node, self._node.state
        root, proof = state.state_root(state.height), state.proof(address)
        if proof is None:
            return None
        # Below its first block a node knows no header.
        height = max(state.height, state.first_block)
        with trio.fail_after(PROOF_S):
            # At rest the last header names the root that stands; under load the one after the next will.
            while (stored := await self._executed_block(height)).record.block.state_root != root:
                height += 1
        below = state.block(height - 1)
        return Evidence(
            account=proof,
            block=stored.record.block,
            certificate=stored.commit,
            validators=node.validators(height).pairs(),
            next_validators=node.validators(height + 1).pairs(),
            parent=below.record.block if below is not None else None,
            changes=set_changes.kept(state, below=height),
        )

    async def _executed_block(self, height: int) -> StoredBlock:
        await self._node.chain.executed(height)
        stored = self._node.state.block(height)
        assert stored is not None, f"block {height} is executed and not there"
        return stored

    async def history(self, address: bytes, limit: int, before: int | None) -> list[HistoryView]:
        try:
            found = self._node.state.transactions.history(address, limit, before)
        except UnknownPosition:
            return []
        return [_history(item, address) for item in found]


def _marks(certificate: Certificate) -> dict[bytes, int]:
    return {vote.voter: vote.mark for vote in certificate.votes}


def _outcome(outcome: Outcome) -> str:
    return outcome.name.lower()


def _history(item: FoundTransaction, address: bytes) -> HistoryView:
    transaction = item.transaction
    mine = transaction.sender == address
    return HistoryView(
        position=item.position,
        hash=item.hash,
        height=item.height,
        time_ms=item.time_ms,
        sender=transaction.sender,
        nonce=transaction.nonce,
        fee=transaction.fee,
        transfers=[(o.to, o.amount) for o in transaction.operations if mine or o.to == address],
        memo=transaction.memo,
        outcome=_outcome(item.outcome),
    )
