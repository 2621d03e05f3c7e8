"""What sync needs of the node: its chain, as far as it is decided and executed, and what its peers claim."""

from typing import Protocol

from prsm_node.sync.following import Trust
from prsm_node.sync.trusted_path import TrustedPath
from prsm_node.wire.payloads import Batch, Committed


class Chain(Trust, Protocol):
    """What sync needs of the node."""

    def next_height(self) -> int:
        """The height that is being agreed on."""

    def executed_height(self) -> int: ...

    def executed_digest(self) -> bytes:
        """The hash of the last executed block."""

    async def executed(self, height: int) -> None:
        """Return when this height is executed."""

    def take(self, link: int, committed: Committed) -> None:
        """Feed a block of the next height whose certificate was checked. Raise what ends the node where it
        proves a fork."""

    def store(self, batch: Batch) -> None:
        """Keep a batch that a certified block fixes, its transactions' signatures unchecked."""

    async def check(self, link: int, batch: Batch) -> bool:
        """Keep a batch only if every signature in it is good; otherwise blame the link."""

    def heights(self) -> dict[int, int]:
        """What the peers on our links say they executed."""

    def validates(self, link: int) -> bool:
        """Whether the peer proved to be a validator: among those who claim much it is asked first."""

    def path(self) -> TrustedPath | None:
        """The way up to the trusted block, while this node is below it."""

    def refused(self) -> None:
        """A peer's chain has another block where the trusted one should be: say so."""

    def off_the_way(self) -> None:
        """Our own blocks do not lead to the trusted one: say so."""
