"""The blocks that changed the validator set, each with its certificate: kept beside the state for ever,
however many blocks are pruned.

A newcomer that trusts the genesis follows the sets by them (consensus/light.py). A running network's set only
shrinks, so that there are fewer than validators.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from consensus.blocks import Block
from consensus.certificates import Certificate
from consensus.light import SetChange
from prsm_node.storage.state import State

SET_CHANGES: Final = b"set changes"
"""Their key among the state's own."""

_decoder = msgspec.msgpack.Decoder(tuple[SetChange, ...])


def encode(changes: Sequence[SetChange]) -> bytes:
    return msgspec.msgpack.encode(changes)


def kept(state: State, below: int) -> tuple[SetChange, ...]:
    """Return the changes by blocks below a height, in order."""
    raw = state.meta(SET_CHANGES)
    return tuple(change for change in _decoder.decode(raw) if change.block.height < below) if raw else ()


def keep(state: State, block: Block, certificate: Certificate) -> None:
    """Keep the block that the state has executed last if it names another set than its own height's; durable
    with the state after it."""
    term = state.roster.term
    if term(block.height) is term(block.height + 1):
        return
    change = SetChange(block, certificate, term(block.height + 1).set.pairs())
    state.put_meta(SET_CHANGES, encode((*kept(state, block.height), change)))
