"""consensus_host's Outbox over network.Links: link numbers on one side, links on the other."""

from prsm_node.consensus_host.outbox import Refusal
from prsm_node.network.asking import Busy, Late, NotFound, PeerFault
from prsm_node.network.links import Links
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import Wanted


class PeerOutbox:
    """Nothing here blocks but `ask`."""

    def __init__(self, links: Links) -> None:
        self._links = links

    def broadcast(self, kind: Kind, message: bytes) -> None:
        self._links.broadcast(kind, message)

    def send(self, link: int, kind: Kind, message: bytes) -> bool:
        return self._links.send(link, kind, message)

    def link_of(self, validator: bytes) -> int | None:
        """Return the link to a validator; None where there is none.

        None too where a twin shows the same key: what is meant for the one that votes goes to all then.
        """
        links = self._links.links_of_validator(validator)
        return links[0].number if len(links) == 1 else None

    def links(self) -> list[int]:
        return [link.number for link in self._links.links()]

    def heights(self) -> dict[int, int]:
        """What the peers say they executed, by link."""
        return {link.number: link.height for link in self._links.links()}

    def validator_of(self, link: int) -> bytes | None:
        found = self._links.link(link)
        return found.validator if found is not None else None

    def sessions(self, validator: bytes, besides: int) -> int:
        """Count the links that proved this validator key, but for one."""
        return len(self.holders(validator, besides))

    def holders(self, validator: bytes, besides: int) -> list[int]:
        """Return the links that proved this validator key, but for one."""
        links = self._links.links_of_validator(validator)
        return [link.number for link in links if link.number != besides]

    async def ask(self, link: int, wanted: Wanted, deadline_s: float) -> bytes | None:
        answer = await self.request(link, wanted, deadline_s)
        return None if isinstance(answer, Refusal) else answer

    async def request(self, link: int, wanted: Wanted, deadline_s: float) -> bytes | Refusal:
        try:
            return await self._links.ask(link, wanted, deadline_s)
        except NotFound:
            return Refusal.ABSENT
        except Busy:
            return Refusal.BUSY
        except Late:
            return Refusal.LATE
        except (PeerFault, LookupError):
            return Refusal.GONE

    def fault(self, link: int, reason: str) -> None:
        key = self._links.key_of(link)
        if key is not None:
            self._links.fault(key, reason)

    def checked(self, link: int, signatures: int) -> None:
        self._links.checked(link, signatures)
