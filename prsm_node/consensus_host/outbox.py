"""What consensus_host needs of a network; node.py hands one in."""

from enum import Enum
from typing import Protocol

from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import Wanted


class Refusal(Enum):
    """Why a question got no answer."""

    ABSENT = "absent"
    """The peer says that it does not have it."""
    BUSY = "busy"
    """The peer has sent us enough for now; later it may answer."""
    LATE = "late"
    """Nothing came within the deadline; counted as the peer's fault already."""
    GONE = "gone"
    """The link ended, or the answer broke its bounds, which is counted already."""


class Outbox(Protocol):
    """Links to peers, by number; 0 is no link. Nothing here blocks but `ask`."""

    def broadcast(self, kind: Kind, message: bytes) -> None:
        """Queue for every linked peer and return at once."""

    def send(self, link: int, kind: Kind, message: bytes) -> bool:
        """Queue for one peer; False where that link is gone."""

    def link_of(self, validator: bytes) -> int | None:
        """Return the link on which a validator proved its key, if there is one."""

    def validator_of(self, link: int) -> bytes | None:
        """Return the validator key that the peer proved to hold, if any."""

    def links(self) -> list[int]:
        """Return the numbers of all links."""

    async def ask(self, link: int, wanted: Wanted, deadline_s: float) -> bytes | None:
        """Return the answer's body, None where the peer has none, is late or is gone."""

    def fault(self, link: int, reason: str) -> None:
        """Score a peer down, and count why."""

    def checked(self, link: int, signatures: int) -> None:
        """Charge a peer for signatures that were checked because of what it brought."""
