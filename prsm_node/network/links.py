"""All links of this node: dialled, greeted, made one a peer, scored, and ended.

The rest of the daemon queues messages here and is handed those that came; it never sees a frame, a stream or
libp2p. roster.py says which links are up, conduct.py what is held against a peer, charges.py what it costs,
frame_dispatch.py who hears what came; asking.py has questions.

Handlers are called in the link's reading task, in the order in which messages came. They may not block; an
exception of theirs closes the link and is counted, but an AssertionError is ours and ends run().
"""

import random
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TYPE_CHECKING

import trio

from prsm_node.errors import OperatorError
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.network.addresses import Address, parse_address
from prsm_node.network.asking import ANSWER_BYTES_MAX, Answer, Asking
from prsm_node.network.charges import Charges
from prsm_node.network.conduct import Conduct
from prsm_node.network.config import NetworkConfig
from prsm_node.network.dialling import Dialling
from prsm_node.network.frame_dispatch import FrameDispatch
from prsm_node.network.greeting import Greeter, ValidatorSession
from prsm_node.network.groups import group_of_host
from prsm_node.network.link import Link, LinkView
from prsm_node.network.lobby import Lobby
from prsm_node.network.peer_memory import PeerMemory
from prsm_node.network.peer_records import Forgetful, PeerRecords
from prsm_node.network.roster import Roster
from prsm_node.network.transport import MakeTransport, Stream, Transport, libp2p
from prsm_node.wire.frames import Frame, FrameJudge, FrameRejected, FrameSealer
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import (
    ADDRESSES_MAX,
    Wanted,
)

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # libp2p brings these stubs, which hide trio's own

    from prsm_node.network.host import Host

# Links that have not greeted yet, beyond links_max: a flood of connections costs 16 tasks and no more.
UNGREETED_MAX = 16


async def _nothing(link: Link, wanted: Wanted) -> bytes | None:
    return None


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


FORGETFUL = Forgetful()


class Links:
    """Every link of this node. Make one, register handlers, then run()."""

    def __init__(
        self,
        config: NetworkConfig,
        node_key: SigningKey,
        network_id: bytes,
        *,
        version: str,
        validator_session: ValidatorSession | None = None,
        answer: Answer = _nothing,
        height: Callable[[], int] = lambda: 0,
        on_link_up: Callable[[Link], None] = lambda link: None,
        on_link_down: Callable[[Link], None] = lambda link: None,
        on_height: Callable[[Link, int], None] = lambda link, height: None,
        privileged: Callable[[bytes], bool] = lambda validator: False,
        could_be_faulty: Callable[[Collection[bytes]], bool] = lambda validators: True,
        clock: Callable[[], float] = trio.current_time,
        now_ms: Callable[[], int] = _wall_clock_ms,
        stopwatch: Callable[[], float] = time.thread_time,
        records: PeerRecords = FORGETFUL,
        randomness: random.Random | None = None,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
        transport: MakeTransport = libp2p,
    ) -> None:
        """`network_id` is the genesis hash. `privileged` says which validator keys keep their link when there
        are too many, `could_be_faulty` whether so many may be banned at once. `on_height` hears each
        heartbeat's. All callbacks are called as handlers are. `now_ms` is the wall clock, by which bans are
        kept; `stopwatch` the seconds of a core that this thread used.
        """
        self.config = config
        self.sealer = FrameSealer(network_id, node_key)
        self.judge = FrameJudge(network_id)
        self.clock = clock
        self.random = randomness or random.Random(entropy(16))
        self.height = height
        self.node_key = node_key.public
        self.network_id = network_id
        self.stopwatch = stopwatch
        self.conduct = Conduct(config.ban_s, clock, now_ms, could_be_faulty)
        self.scores = self.conduct.scores
        self._dialling = Dialling(self, node_key.public)
        self.book = self._dialling.book
        self.listen: tuple[Address, ...] = ()
        """What is bound; known once run() has started."""
        self.counters: Counter[str] = Counter()
        """Totals over all links that ended; stats() adds those that stand."""
        self._seed = node_key.seed()
        self._entropy = entropy
        self._greeter = Greeter(self, version, validator_session, entropy(8))
        self._on_up = [on_link_up]
        self._on_link_down = on_link_down
        self._roster = Roster(
            node_key.public, config.links_max, privileged, self.book.is_bootstrap, self._ended, self.count
        )
        self._charges = Charges(
            self.conduct.cpu, config.answers, self._roster, self.fault, self.counters, clock
        )
        self.spent, self.answer_wait_s = self._charges.frame, self._charges.answer_wait_s
        self.charge, self.owes_answers = self._charges.answer, self._charges.owes_answers
        self._asking = Asking(self, answer)
        self._dispatch = FrameDispatch(self, self._greeter, self._raise_up, on_height)
        self.handle = self._dispatch.handle
        self.handle(Kind.REQUEST, self._asking.requests)
        self.handle(Kind.RESPONSE, self._asking.responses)
        self._ungreeted: dict[Link, None] = {}
        self._lobby: Lobby[Link] = Lobby(UNGREETED_MAX)
        self._memory = PeerMemory(self, records)
        self._next_number = 1
        self._make_transport = transport
        self._transport: Transport | None = None
        self._nursery: trio.Nursery | None = None
        self._broken: AssertionError | None = None
        self._over = trio.Event()

    def watch(self, up: Callable[[Link], None]) -> None:
        """Tell `up` too of each link that comes up, after `on_link_up`."""
        self._on_up.append(up)

    def broadcast(self, kind: Kind, message: bytes, *, validators_only: bool = False) -> int:
        """Queue an encoded message on every link that is up; return on how many. Never waits."""
        links = [link for link in self._roster.links() if link.validator is not None or not validators_only]
        for link in links:
            link.send(kind, message)
        return len(links)

    def send(self, to: Link | int | bytes, kind: Kind, message: bytes) -> bool:
        """Queue an encoded message for a link, a link's number or a node key; False where it is not up."""
        link = self.link(to)
        return link is not None and link.send(kind, message)

    def link(self, of: Link | int | bytes) -> Link | None:
        """Return the link that is up under a number or to a node key."""
        return self._roster.find(of)

    def key_of(self, number: int) -> bytes | None:
        """Return the node key of a link that is up, or was lately: what it brought is checked after it."""
        return self._roster.key_of(number)

    def links(self) -> list[Link]:
        """Return the links that are up."""
        return self._roster.links()

    def validates(self, number: int) -> bool:
        """Whether a link's peer is a validator of the set, and no further node of the same one."""
        link = self.link(number)
        return link is not None and self._roster.validates(link)

    def links_of_validator(self, key: bytes) -> list[Link]:
        """Return the links whose peers proved to hold this validator key; two of them are a twin."""
        return [link for link in self._roster.links() if link.validator == key]

    async def ask(
        self,
        link: Link | int | bytes,
        wanted: Wanted,
        deadline_s: float,
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> bytes:
        """Ask one peer; see asking.py. Raise LookupError where no such link is up."""
        found = self.link(link)
        if found is None:
            raise LookupError("no such link is up")
        return await self._asking.ask(found, wanted, deadline_s, bytes_max)

    def fault(self, of: Link | bytes, reason: str) -> None:
        """Count a peer's fault and score it; below the bound it is dropped and banned for a while."""
        key = of if isinstance(of, bytes) else of.node_key
        if isinstance(of, bytes):
            host, validator = self._roster.seen(key).host, self._roster.validated(key)
        else:
            host, validator = of.host, of.validator if self._roster.validates(of) else None
        if self.conduct.fault(key, reason, host, validator):
            for link in [link for link in self._every() if link.node_key == key]:
                link.close(f"banned: {reason}")

    def checked(self, of: Link | int | bytes, signatures: int) -> None:
        """Charge a peer for signatures that were checked on its account, wherever that was."""
        key = self.key_of(of) if isinstance(of, int) else of if isinstance(of, bytes) else of.node_key
        self._charges.signatures(key, signatures)

    def views(self) -> list[LinkView]:
        """Return every link that is up, for people and metrics."""
        return [link.view(self.conduct.score(link.node_key)) for link in self._roster.links()]

    def stats(self) -> dict[str, int]:
        """Return totals since the start: bytes, frames, losses, depth, faults by reason."""
        totals = Counter(self.counters)
        for link in self._every():
            totals += _totals(link)
        totals["links"] = len(self._roster)
        totals["queued"] = sum(link.outbox.depth for link in self._every())
        totals["queued_bytes"] = sum(link.outbox.depth_bytes for link in self._every())
        totals["addresses"] = len(self.book)
        for reason, count in self.scores.faults.items():
            totals[f"fault.{reason}"] = count
        if self._transport is not None:
            for name, count in self._transport.faults.items():
                totals[f"libp2p.{name}"] = count
        return dict(totals)

    def dial(self, address: str, *, keep: bool = True) -> None:
        """Look for a node from now on; return at once. ValueError in a sentence for a bad address or our own.

        `keep` False: as one only heard of, forgotten when it cannot be reached.
        """
        self._dialling.look_for(address, keep)

    def learn(self, addresses: Iterable[str], teller: Link | None = None) -> int:
        """Keep what a peer or discovery tells of, counting what is refused by reason; return how many are
        new."""
        return self._dialling.learn(addresses, teller)

    @property
    def transport(self) -> Transport:
        """What streams come from, while run() runs."""
        assert self._transport is not None, "the transport runs with the links"
        return self._transport

    @property
    def host(self) -> "Host":
        """The libp2p host, for the DHT, while run() runs."""
        from prsm_node.network.host import Host

        assert isinstance(self._transport, Host), "the DHT is libp2p's"
        return self._transport

    @property
    def advertised(self) -> tuple[str, ...]:
        """What peers are told to dial, each ending in our peer id."""
        if self.config.advertise:
            stripped = (parse_address(text) for text in self.config.advertise)
            return tuple(str(Address(a.family, a.host, a.port, self.node_key)) for a in stripped)
        return tuple(map(str, self.listen))[:ADDRESSES_MAX]

    async def run(self, *, task_status: "TaskStatus[tuple[str, ...]]" = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, link and serve until cancelled; started() is given the bound addresses with peer ids.

        Raise OperatorError where an address cannot be bound, AssertionError where an invariant of ours broke.
        """
        connections_max = self.config.links_max + UNGREETED_MAX
        transport = self._make_transport(self._seed, connections_max, self.config.stall_s)
        self._transport = transport
        transport.blame, transport.refuses = self.fault, self._refuses
        transport.costs = self._charges.connection
        try:
            listen = [parse_address(text) for text in self.config.listen]
        except ValueError as error:
            raise OperatorError(f"network.listen: {error}.") from None
        async with transport.run(listen) as bound, trio.open_nursery() as nursery:
            self.listen = tuple(bound)
            self._nursery = nursery
            transport.handle(self._inbound)
            self._memory.recall()
            nursery.start_soon(self._dialling.run)
            nursery.start_soon(self._memory.run)
            task_status.started(tuple(map(str, bound)))
            try:
                await self._over.wait()
            finally:
                await self._memory.keep()
                for link in self._every():
                    link.close("shutdown")
                self._nursery = None
                nursery.cancel_scope.cancel()
        if self._broken is not None:
            raise self._broken

    def received(self, link: Link, frame: Frame) -> None:
        """A frame passed every check."""
        self._charges.frame_begins()
        self._dispatch.received(link, frame)

    def rejected(self, link: Link, refusal: FrameRejected) -> None:
        """A frame was refused."""
        self._charges.frame_begins()
        self._dispatch.rejected(link, refusal)

    def broken(self, error: AssertionError) -> None:
        """An invariant of ours broke: run() ends with it."""
        if self._broken is None:
            self._broken = error
        self._over.set()

    def count(self, name: str) -> None:
        self.counters[name] += 1

    def start_soon(self, task: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """Run a task that ends with the links."""
        if self._nursery is not None:
            self._nursery.start_soon(task, *arguments)

    def _raise_up(self, link: Link) -> None:
        """The link has greeted: keep it if the roster does."""
        if self.conduct.place_banned(link.host) and not self._roster.needed(link):
            self.counters["links_refused"] += 1
            link.close("place is banned")
            return
        if not self._roster.admit(link):
            return
        self._greeted(link)
        assert link.greeting is not None, f"link {link.number} is up without a greeting"
        for text in link.greeting.listen:
            self._dialling.learn_own(link, text)
        self.counters["links_made"] += 1
        link.up.set()
        for tell in self._on_up:
            tell(link)

    def _greeted(self, link: Link) -> None:
        self._ungreeted.pop(link, None)
        self._lobby.leave(link)

    def _ended(self, link: Link) -> None:
        """A link that was up is no more; told once to those who were told that it is up."""
        self._asking.link_down(link)
        self.counters[f"link_ended.{(link.ended or 'gone').partition(':')[0]}"] += 1
        self._on_link_down(link)

    async def _inbound(self, stream: Stream) -> None:
        """Serve a stream that a peer opened; runs in the stream's own task."""
        key = stream.node_key
        if self._refuses(key) or key == self.node_key or self._nursery is None:
            await stream.drop()
            return
        await self.serve(stream, outbound=False)

    def _refuses(self, key: bytes) -> bool:
        """Whether a node is kept out; if so it is counted."""
        banned = self.conduct.node_banned(key)
        self.counters["links_refused"] += banned
        return banned

    async def serve(self, stream: Stream, outbound: bool) -> None:
        """Make a link of a stream and keep it until it ends."""
        key = stream.node_key
        link = Link(self, self._next_number, key, stream, outbound, self._entropy(32))
        self._next_number += 1
        self._ungreeted[link] = None
        if not outbound and (leaves := self._lobby.enter(link, group_of_host(link.host))) is not None:
            self.counters["ungreeted_dropped"] += 1
            leaves.close("no room")
        self._greeter.greet(link)
        try:
            await link.run()
        finally:
            link.close("shutdown")
            self.counters += _totals(link)
            now = self.clock()
            self.book.unlinked(key, now, now - link.since)
            self._greeted(link)
            try:
                self._roster.remove(link)
            except AssertionError as error:
                self.broken(error)
            except Exception as error:
                self.counters[f"handler_failed.link_down.{type(error).__name__}"] += 1
            await link.drop()

    def _every(self) -> list[Link]:
        return [*self._roster.links(), *self._ungreeted]


def _totals(link: Link) -> Counter[str]:
    return Counter(
        bytes_in=link.bytes_in,
        bytes_out=link.bytes_out,
        frames_in=link.frames_in,
        frames_out=link.frames_out,
        lost=link.outbox.lost,
    )
