"""What a run of this node leaves to the next: who is banned, and the anchors that are dialled first.

Anchors are the outbound links to peers only heard of that have lasted longest: who fills the address book
of a node that restarts finds these places taken (Bitcoin's anchors). Bootstrap peers need none: they are
always dialled. Both go to the records seconds after a change, and at a clean end.
"""

from collections.abc import Iterable
from typing import Protocol

import trio

from prsm_node.network.address_book import LASTING_S, AddressBook
from prsm_node.network.addresses import parse_address, peer_id_of
from prsm_node.network.conduct import Conduct
from prsm_node.network.groups import group_of, is_shared
from prsm_node.network.link import Link
from prsm_node.network.peer_records import ANCHORS_MAX, PeerRecords, Remembered

# Bans come in crowds: one write a second for all of them, and fewer where the file is large: 4,096 bans are
# 1.2 MB each five seconds.
GATHER_S = 1.0
GATHER_PER_BAN_S = 0.001
ANCHORS_EVERY_S = 30.0
END_S = 2.0


class RememberingLinks(Protocol):
    """What memory needs of links.py."""

    conduct: Conduct
    book: AddressBook

    def links(self) -> list[Link]: ...
    def clock(self) -> float: ...


class PeerMemory:
    def __init__(self, links: RememberingLinks, records: PeerRecords) -> None:
        self._links = links
        self._records = records
        self._kept = Remembered()

    def recall(self) -> None:
        """Take up what the last run left."""
        self._kept = self._records.load()
        self._links.conduct.restore(self._kept.bans)
        for text in self._kept.anchors:
            try:
                self._links.book.learn(parse_address(text), anchor=True)
            except ValueError:
                continue  # of another version, or edited by hand: one is missed

    async def run(self) -> None:
        """Keep what changes, until cancelled."""
        conduct = self._links.conduct
        while True:
            conduct.changed = trio.Event()
            with trio.move_on_after(ANCHORS_EVERY_S):
                await conduct.changed.wait()
                await trio.sleep(GATHER_S + GATHER_PER_BAN_S * len(self._kept.bans))
            await self._save()

    async def keep(self) -> None:
        """The run ends: keep what stands, in two seconds at most."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + END_S):
            await self._save()

    async def _save(self) -> None:
        remembered = Remembered(self._links.conduct.bans.remembered(), self._anchors())
        if remembered != self._kept:
            self._kept = remembered
            await self._records.save(remembered)

    def _anchors(self) -> tuple[str, ...]:
        """Of the outbound links those that lasted longest, then what was kept before."""
        now, book = self._links.clock(), self._links.book
        lasting = [
            link
            for link in self._links.links()
            if link.outbound and now - link.since >= LASTING_S and not book.is_bootstrap(link.node_key)
        ]
        found = [
            f"{link.address}/p2p/{peer_id_of(link.node_key)}"
            for link in sorted(lasting, key=lambda link: link.since)
            if link.address
        ]
        return chosen([*found, *self._kept.anchors])


def chosen(offered: Iterable[str]) -> tuple[str, ...]:
    """Return the anchors among these addresses, the best in front.

    Of one node one, and of a network group that strangers share a second only where no other is left: one
    owner holds them all only if he has every link. What can't be read could not be dialled either.
    """
    nodes: set[bytes | None] = set()
    groups: set[str] = set()
    anchors: list[str] = []
    others: list[str] = []
    for text in offered:
        try:
            address = parse_address(text)
        except ValueError:
            continue
        if address.node_key in nodes:
            continue
        nodes.add(address.node_key)
        group = group_of(address)
        (others if is_shared(group) and group in groups else anchors).append(text)
        groups.add(group)
    return tuple([*anchors, *others][:ANCHORS_MAX])
