"""Execution, as far as agreement sees it: after each block a root of state, and a set of validators.

Any pure function of block and state will do, if it changes the set now and then: members leave and return,
their powers change, and who is convicted is gone for good (PROTOCOL, Blocks 1: what block h changes is in
force from h + 3).
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from consensus.blocks import Block, block_digest
from consensus.chain import ChainStart, Since
from consensus.evidence import guilty
from consensus.evidence_window import EvidenceWindow
from consensus.quorum import is_third
from consensus.validators import ValidatorSet

MEMBERS_MIN = 4
Pairs = tuple[tuple[bytes, int], ...]


class State(msgspec.Struct, frozen=True):
    """What executing a block left."""

    root: bytes
    members: ValidatorSet
    """In force from the height three above."""
    since: Since = {}
    """Of those that returned."""
    convicted: frozenset[bytes] = frozenset()


class Execution:
    """Args:
    changes_every: the set changes at each height that this divides; 0: never.
    faulty: they never come to a third of a set that changed, unless they had more than that to begin with.
    jails: whether who is convicted leaves.
    """

    def __init__(
        self,
        genesis: bytes,
        validators: ValidatorSet,
        faulty: Iterable[bytes],
        changes_every: int = 0,
        *,
        jails: bool = True,
    ) -> None:
        self.genesis = State(genesis, validators)
        self._states: dict[bytes, State] = {genesis: self.genesis}
        self._faulty = tuple(faulty)
        self._changes_every = changes_every
        self._jails = jails

    def after(self, block: Block) -> State:
        """Return the state after a block. Its parent must have been executed before, by whomever."""
        digest = block_digest(block)
        state = self._states.get(digest)
        if state is None:
            before = self._states[block.parent]
            convicts = [guilty(piece) for piece in block.evidence]
            convicted = before.convicted.union(convicts)
            members = before.members.without(convicts) if self._jails else before.members
            members = self._changed(members, block.height, convicted)
            root = sha256(
                before.root + msgspec.msgpack.encode((block.height, block, members.pairs()))
            ).digest()
            since = {
                key: before.since.get(key, 0) if key in before.members else block.height + 3
                for key in members.powers
            }
            state = self._states[digest] = State(root, members, since, convicted)
        return state

    def start_above(self, chain: Sequence[Block], genesis_ms: int) -> ChainStart:
        """Return what a replica begins with above a chain, of which no block may be missing.

        `genesis_ms` is the time that the first block must be above.
        """
        height = len(chain)
        last = chain[-1] if chain else None
        named = {height + i: self._named_by(chain, height + i) for i in (1, 2, 3)}
        start = ChainStart(
            height=height,
            digest=block_digest(last) if last else self.genesis.root,
            time_ms=last.time_ms if last else genesis_ms,
            tips=tuple({tip.author: tip for block in chain for tip in block.tips}.values()),
            roots={0: self.genesis.root} | {block.height: self.after(block).root for block in chain[-2:]},
            sets={above: state.members for above, state in named.items()},
            last_work=max((block.height for block in chain if block.works), default=0),
            since={above: state.since for above, state in named.items()},
            convicted=(self.after(last) if last else self.genesis).convicted,
        )
        window = EvidenceWindow()
        for block in chain:
            window = window.after(block.height, block.time_ms, start.window_ms)
        return replace(start, window=window)

    def _named_by(self, chain: Sequence[Block], height: int) -> State:
        """The set of a height is what the block three below it left."""
        return self.after(chain[height - 4]) if height > 3 else self.genesis

    def _changed(self, members: ValidatorSet, height: int, convicted: frozenset[bytes]) -> ValidatorSet:
        """One after the other leaves, returns, or, where too few would be left, gains power."""
        if not self._changes_every or height % self._changes_every:
            return members
        founders = self.genesis.members
        who = founders[height // self._changes_every % len(founders)]
        if who.key in convicted:
            return members
        powers = dict(members.pairs())
        if who.key not in powers:
            powers[who.key] = who.power
        elif len(powers) > MEMBERS_MIN and self._bears({k: p for k, p in powers.items() if k != who.key}):
            del powers[who.key]
        else:
            powers[who.key] += 1
        return ValidatorSet(powers.items()) if self._bears(powers) else members

    def _bears(self, powers: dict[bytes, int]) -> bool:
        """Whether the faulty are below a third."""
        weight = sum(powers.get(key, 0) for key in self._faulty)
        total = sum(powers.values())
        return not is_third(weight, total) and 3 * weight < total
