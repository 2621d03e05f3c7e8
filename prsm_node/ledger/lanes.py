"""How far each lane is ordered: a module of the state with a root of its own.

A header names only the lanes that it advances (PROTOCOL, Blocks 1), so that a node which takes over a state
without its history could not tell the tip of a lane that rests. The root covers the tips of all.
"""

from hashlib import sha256
from typing import Annotated, Final

import msgspec

from consensus.blocks import Tip

# Validators come and go, and a lane's tip stays: 16 sets of 256 without a common member.
LANES_MAX: Final = 4_096


class Lanes(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The last batch ordered of each lane that has one, in order of author."""

    tips: Annotated[tuple[Tip, ...], msgspec.Meta(max_length=LANES_MAX)] = ()

    @property
    def root(self) -> bytes:
        return sha256(b"lanes" + msgspec.msgpack.encode(self.tips)).digest()

    def after(self, tips: tuple[Tip, ...]) -> "Lanes":
        """Return the lanes after a block that lists these tips."""
        if not tips:
            return self
        by_author = {tip.author: tip for tip in (*self.tips, *tips)}
        return Lanes(tuple(by_author[author] for author in sorted(by_author)))
