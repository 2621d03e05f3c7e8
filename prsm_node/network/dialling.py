"""Whom this node dials and when: what is learnt of addresses, and the one task that dials.

The address book says who is due, rumours.py what may be dialled on hearsay; links.py takes the streams.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import Protocol

import trio

from prsm_node.errors import OperatorError
from prsm_node.network.address_book import LASTING_S, AddressBook
from prsm_node.network.addresses import Address, host_of, parse_address
from prsm_node.network.conduct import Conduct
from prsm_node.network.config import NetworkConfig
from prsm_node.network.groups import group_of, group_of_host
from prsm_node.network.link import Link
from prsm_node.network.rumours import (
    NODES_PER_TELLER_MAX,
    Rumours,
    implausible,
    is_loopback,
    on_every_interface,
)
from prsm_node.network.slots import reserved
from prsm_node.network.transport import Stream, Transport

DIALS_AT_ONCE = 8
DIAL_TICK_S = 0.1


class DiallingLinks(Protocol):
    """What dialling needs of links.py."""

    config: NetworkConfig
    clock: Callable[[], float]
    random: Random
    conduct: Conduct
    counters: Counter[str]
    listen: tuple[Address, ...]

    @property
    def transport(self) -> Transport: ...
    def links(self) -> list[Link]: ...
    def link(self, of: Link | int | bytes) -> Link | None: ...
    def start_soon(self, task: Callable[..., Awaitable[object]], *arguments: object) -> None: ...
    async def serve(self, stream: Stream, outbound: bool) -> None: ...


class Dialling:
    """Keeps the address book. Making one raises OperatorError where a bootstrap address is none."""

    def __init__(self, links: DiallingLinks, own_key: bytes) -> None:
        self._links = links
        self._own_key = own_key
        self.book = AddressBook(own_key, links.config, links.random)
        self._rumours = Rumours(links.config)
        self._under_way: dict[bytes, str] = {}
        """Node -> the network group in which it is dialled."""
        for text in links.config.bootstrap:
            try:
                address = parse_address(text)
            except ValueError as error:
                raise OperatorError(f"network.bootstrap: {error}.") from None
            if address.node_key is None:
                raise OperatorError(f"network.bootstrap: {text} does not end in /p2p/<peer id>; add it.")
            self.book.learn(address, bootstrap=True)

    def look_for(self, address: str, keep: bool) -> None:
        """Links.dial."""
        parsed = parse_address(address)
        if parsed.node_key is None:
            raise ValueError(f"{address} does not end in /p2p/<peer id>, which says whom to expect; add it")
        if parsed.node_key == self._own_key:
            raise ValueError(f"{address} is this node itself")
        self.book.learn(parsed, bootstrap=keep)

    def learn(self, addresses: Iterable[str], teller: Link | None = None) -> int:
        """Links.learn."""
        learned = 0
        for text in addresses:
            try:
                learned += self._heard_of(parse_address(text), teller)
            except ValueError:
                self._links.counters["addresses_refused.unreadable"] += 1
        return learned

    def _heard_of(self, address: Address, teller: Link | None) -> bool:
        local = all(map(is_loopback, self._links.listen)) if teller is None else _is_local(teller)
        refused = implausible(address, local)
        key = b"" if teller is None else teller.node_key
        known = address.node_key is not None and self.book.addresses(address.node_key)
        if (
            refused is None
            and not known
            and teller is not None
            and self.book.told_by(key) >= NODES_PER_TELLER_MAX
        ):
            refused = "too_many_of_one_peer"
        if refused is not None:
            self._links.counters[f"addresses_refused.{refused}"] += 1
            return False
        source = "" if teller is None else group_of_host(teller.host)
        return self.book.learn(address, teller=key, source=source)

    def learn_own(self, link: Link, text: str) -> None:
        """Keep an address that a peer gives as its own; one of another node would be a rumour."""
        try:
            address = parse_address(text)
        except ValueError:
            self._links.counters["addresses_refused.unreadable"] += 1
            return
        if address.node_key != link.node_key:
            return
        if on_every_interface(address) and link.address:
            # Where it is we see by ourselves.
            seen = parse_address(link.address)
            address = Address(seen.family, seen.host, address.port, address.node_key)
        self._heard_of(address, link)

    async def run(self) -> None:
        """Dial whoever is due until cancelled; each link made is a task of the links."""
        links = self._links
        while True:
            now = links.clock()
            heard = {link.node_key for link in links.links() if not link.hangs}
            linked = heard | self._under_way.keys()
            for address in self.book.due(now, linked, self._room(linked), self._outbound_groups()):
                key = address.node_key
                assert key is not None, "the book keeps addresses with a node key only"
                if (
                    len(self._under_way) >= DIALS_AT_ONCE
                    or key in self._under_way
                    or self._banned(address, key)
                ):
                    continue
                if not self.book.is_kept_apart(key) and not self._rumours.may_dial(
                    address, self.book.teller(key), now
                ):
                    continue
                self._under_way[key] = group_of(address)
                self.book.dialling(key, now)
                links.start_soon(self._dial_one, address)
            await trio.sleep(DIAL_TICK_S)

    def _room(self, linked: set[bytes]) -> bool:
        """Whether to dial on hearsay: up to the links wanted, and beyond them until those that we dialled
        fill the places kept for them, or a crowd that came would be all that we ever see."""
        config = self._links.config
        if not config.exchange_peers:
            return False
        dialled = sum(link.outbound for link in self._links.links()) + len(self._under_way)
        return len(linked) < config.links_wanted or dialled < reserved(config.links_max)

    def _outbound_groups(self) -> list[str]:
        on_hearsay = [
            group_of_host(link.host)
            for link in self._links.links()
            if link.outbound and not self.book.is_kept_apart(link.node_key)
        ]
        return on_hearsay + list(self._under_way.values())

    def _banned(self, address: Address, key: bytes) -> bool:
        conduct = self._links.conduct
        if conduct.node_banned(key):
            return True
        # Whom the operator named answers for itself alone.
        return not self.book.is_bootstrap(key) and conduct.place_banned(host_of(address.transport))

    async def _dial_one(self, address: Address) -> None:
        links, key = self._links, address.node_key
        assert key is not None, "the book keeps addresses with a node key only"
        stream: Stream | None = None
        try:
            with trio.move_on_after(links.config.dial_s):
                stream = await links.transport.dial(address)
        except Exception as error:
            links.counters[f"dial_failed.{type(error).__name__}"] += 1
        finally:
            self._under_way.pop(key, None)
        if stream is None:
            links.counters["dials_failed"] += 1
            return
        links.counters["dials_made"] += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._reached_if_it_lasts, address)
                await links.serve(stream, outbound=True)
                nursery.cancel_scope.cancel()
        except Exception as error:
            links.counters[f"link_failed.{type(error).__name__}"] += 1

    async def _reached_if_it_lasts(self, address: Address) -> None:
        await trio.sleep(LASTING_S)
        assert address.node_key is not None, "the book keeps addresses with a node key only"
        if self._links.link(address.node_key) is not None:
            self._rumours.reached(address)
            self.book.reached(address)


def _is_local(link: Link) -> bool:
    return bool(link.address) and is_loopback(parse_address(link.address))
