"""What the control socket asks of a node. prsm_node/node_view.py implements it."""

from collections.abc import Callable
from typing import Protocol

from prsm_node.account_proof import Evidence
from prsm_node.control.views import (
    AccountView,
    BanView,
    BlockView,
    EvidenceView,
    FinalBlock,
    HistoryView,
    NetworkView,
    PeerView,
    StatusView,
    TransactionView,
    ValidatorView,
)


class NodeView(Protocol):
    """What the control socket needs of a node. Called in trio's thread only.

    Nothing here may raise on bad values of the right type: an absent thing is None, a refused one its reason.
    """

    def status(self) -> StatusView: ...

    def peers(self) -> list[PeerView]: ...

    def bans(self) -> list[BanView]:
        """Who is banned, the ban that ends first in front."""

    def unban(self, who: str) -> bool:
        """Lift a ban; False where there is none of this name."""

    def validators(self) -> list[ValidatorView]: ...

    def evidence(self) -> EvidenceView: ...

    def network(self) -> NetworkView: ...

    def counters(self) -> dict[str, int | float]:
        """Everything counted, flat, with dotted names: `frames.bytes_out`, `mempool.refused.nonce_spent`."""

    async def block(self, height: int) -> BlockView | None: ...

    async def transaction(self, digest: bytes) -> TransactionView | None:
        """Pending or final; a transaction that was in a FinalBlock is found as soon as that was announced."""

    async def account(self, address: bytes) -> AccountView: ...

    async def account_proof(self, address: bytes) -> Evidence | None:
        """Prove an account by a certified header, waiting for it at most 20 s; None if there is no
        such account. Raise trio.TooSlowError."""

    async def history(self, address: bytes, limit: int, before: int | None) -> list[HistoryView]:
        """Newest first, below position `before`."""

    async def submit(self, transactions: list[bytes]) -> list[tuple[bool, str]]:
        """Admit raw transactions, each on its own: (True, "") or (False, reason).

        A duplicate of a pending one is accepted again. Waits for the signature check, at most a few seconds.
        """

    def on_final(self, notice: Callable[[FinalBlock], None]) -> Callable[[], None]:
        """Call `notice` after each block is executed here, in order of height; it never blocks nor raises.
        Return what ends that."""

    async def invite(self) -> str: ...

    def stop(self) -> None:
        """Begin a clean end of the daemon and return at once."""
