"""Multicast DNS: this node is announced to its local network, and others of its network are heard of
(https://github.com/libp2p/specs/blob/master/discovery/mdns.md, as a private network has it).

zeroconf runs an asyncio loop in a thread of its own and tells of services in another, both daemon threads.
They only post to trio's loop, and every call into them is made in a thread that is given up after CALL_S, so
that zeroconf stuck or ended costs discovery and nothing else. Of what may be stuck for ever, which no one can
end, there is never more than STUCK_MAX.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import trio

from prsm_node.network.addresses import parse_address, peer_id_of
from prsm_node.wire.payloads import PEERS_MAX

if TYPE_CHECKING:
    from zeroconf import ServiceBrowser, Zeroconf

T = TypeVar("T")

# A service of this network only; a label has at most 15 characters.
FINGERPRINT_HEX: Final = 8
# zeroconf's own calls end within 3 s and the 10 s more that it allows a busy machine. A look-up that is under
# way while it is closed always takes those 13 s, since its loop has stopped by then.
CALL_S = 30.0
WATCH_S = 60.0
"""Between questions whether zeroconf's loop still runs."""
CLOSE_S: Final = 2.0
STUCK_MAX: Final = 4
POSTS_MAX: Final = 64
"""What was heard and waits for trio's loop; more is dropped, and heard again."""
ADDRESSES_MAX: Final = 8


class Neighbours(Protocol):
    """What multicast DNS needs of links.py."""

    node_key: bytes
    network_id: bytes

    @property
    def advertised(self) -> tuple[str, ...]: ...
    def learn(self, addresses: tuple[str, ...] | list[str]) -> int: ...
    def count(self, name: str) -> None: ...


class MulticastDns:
    """`run` it again after it has raised. Make it anywhere."""

    def __init__(self, links: Neighbours) -> None:
        self._links = links
        self._service = f"_p2p-{links.network_id.hex()[:FINGERPRINT_HEX]}._udp.local."
        self._calls = trio.CapacityLimiter(STUCK_MAX)

    async def run(self) -> None:
        """Announce and listen until cancelled. Raise what zeroconf does, TooSlowError where it is stuck."""
        made = _Made()
        post = _Post(self._links)
        try:
            zeroconf = await self._call(made.zeroconf)
            own = await self._call(reachable, self._links.advertised)
            await self._call(self._register, zeroconf, own)
            await self._call(made.browser, self._service, post)
            while True:
                await trio.sleep(WATCH_S)
                await _answers(zeroconf, post)
        finally:
            made.given_up.set()
            # What its end raises is of no use to anybody by now.
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S), suppress(Exception):
                await self._in_thread(made.close)

    async def _call(self, call: Callable[..., T], *arguments: object) -> T:
        with trio.fail_after(CALL_S):
            return await self._in_thread(call, *arguments)

    async def _in_thread(self, call: Callable[..., T], *arguments: object) -> T:
        return await trio.to_thread.run_sync(
            call,
            *arguments,
            abandon_on_cancel=True,  # type: ignore[call-arg]  # of trio_typing's stubs, which are older
            limiter=self._calls,
        )

    def _register(self, zeroconf: "Zeroconf", own: list[str]) -> None:
        from zeroconf import ServiceInfo

        properties = {f"dnsaddr{index}" if index else "dnsaddr": text for index, text in enumerate(own)}
        hosts = [parsed.host for parsed in map(parse_address, own) if parsed.family in ("ip4", "ip6")]
        name = peer_id_of(self._links.node_key)
        info = ServiceInfo(
            self._service,
            f"{name}.{self._service}",
            port=parse_address(own[0]).port if own else 0,
            properties=properties,
            server=f"{name}.local.",
            parsed_addresses=hosts,  # without one, nobody's question about the service is answered
        )
        zeroconf.register_service(info)


class _Made:
    """What zeroconf runs for us, and its end. Its methods run in threads, which may have been given up."""

    def __init__(self) -> None:
        self.given_up = threading.Event()
        self._zeroconf: Zeroconf | None = None
        self._browser: ServiceBrowser | None = None

    def zeroconf(self) -> "Zeroconf":
        from zeroconf import Zeroconf

        self._zeroconf = Zeroconf()
        if self.given_up.is_set():  # nobody waits for it any more
            self.close()
        return self._zeroconf

    def browser(self, service: str, post: "_Post") -> None:
        from zeroconf import ServiceBrowser

        assert self._zeroconf is not None, "the browser is zeroconf's"
        self._browser = ServiceBrowser(self._zeroconf, service, listener=_heard(post))

    def close(self) -> None:
        """The browser first: a look-up that is under way needs the loop, and zeroconf does not know of it."""
        if self._browser is not None:
            self._browser.cancel()
        if self._zeroconf is not None:
            self._zeroconf.close()


class _Post:
    """From zeroconf's threads to trio's loop, POSTS_MAX at a time; what is posted never raises there."""

    def __init__(self, links: Neighbours) -> None:
        self.links = links
        self._token = trio.lowlevel.current_trio_token()
        self._room = threading.Semaphore(POSTS_MAX)

    def __call__(self, deed: Callable[..., object], *arguments: object) -> None:
        if not self._room.acquire(blocking=False):
            return
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._do, deed, *arguments)

    def _do(self, deed: Callable[..., object], *arguments: object) -> None:
        self._room.release()
        try:
            deed(*arguments)
        except Exception as error:
            self.links.count(f"discovery_failed.mdns_heard.{type(error).__name__}")


def _heard(post: _Post) -> Any:
    """Make the listener that learns the addresses of each service that is heard of."""
    from zeroconf import ServiceListener, Zeroconf

    links = post.links

    class Heard(ServiceListener):
        def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            try:
                info = zc.get_service_info(type_, name)
                found = info.properties.values() if info is not None else ()
                texts = [value.decode("ascii", "ignore") for value in found if value]
            except Exception as error:  # let out, it would end the browser's thread
                post(links.count, f"discovery_failed.mdns_lookup.{type(error).__name__}")
                return
            if texts:
                post(links.learn, texts[:PEERS_MAX])

        update_service = add_service

        def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            """The address book forgets by itself."""

    return Heard()


async def _answers(zeroconf: "Zeroconf", post: _Post) -> None:
    """Raise TooSlowError where zeroconf's loop hears nothing for CALL_S, RuntimeError where it has ended."""
    assert zeroconf.loop is not None, "it was started"
    heard = trio.Event()
    zeroconf.loop.call_soon_threadsafe(post, heard.set)
    with trio.fail_after(CALL_S):
        await heard.wait()


def reachable(advertised: tuple[str, ...]) -> list[str]:
    """Put the machine's own addresses where "every interface" is listened on."""
    from ipaddress import ip_address

    import psutil  # type: ignore[import-untyped]

    found: list[str] = []
    for text in advertised:
        address = parse_address(text)
        if address.family not in ("ip4", "ip6") or not ip_address(address.host).is_unspecified:
            found.append(text)
            continue
        for interface in psutil.net_if_addrs().values():
            for entry in interface:
                host = entry.address.partition("%")[0]
                try:
                    right = ip_address(host).version == int(address.family[2])
                except ValueError:
                    continue  # a hardware address
                if right:
                    found.append(text.replace(f"/{address.host}/", f"/{host}/", 1))
    return found[:ADDRESSES_MAX]
