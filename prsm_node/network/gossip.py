"""Gossip: bytes for everybody, flooded over our own streams and repaired where a message was missed.

Whoever gets a message for the first time hands it to its topic and sends it on to all but the one it came
from. Digests of what is held are offered (HAVE) for a few rounds after they came and to each link that comes
up; who misses one asks for it (WANT). So a message reaches every node that is linked to the others by any
path, also after its link or its place in a queue was lost.

libp2p's GossipSub was measured and falls over at 200 messages/s; this is 120 lines and costs a frame a link.
"""

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

import trio

from prsm_node.network.frame_dispatch import Handler
from prsm_node.network.link import Link
from prsm_node.wire.frames import encode_message
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import DIGESTS_MAX, GOSSIP_BYTES_MAX, Gossip

# What was seen is not taken again: 65,536 digests x about 120 bytes = 8 MB, 11 s at 5,800 messages/s.
# A message that comes back later is handed to its topic again, which has its own rules against duplicates.
SEEN_MAX = 65_536
# Held for repair, the oldest dropped first.
HELD_BYTES_MAX = 8 * 1024 * 1024
HELD_S = 60.0
# A digest is offered in this many rounds: one may be lost with its queue, the second finds its asker busy.
OFFERS = 3
# A digest is asked for once within this time, then of the next one who offers it.
ASK_AGAIN_S = 1.0
ASKED_MAX = 8_192
# Of one WANT: what a link's bulk queue takes besides other things.
REPAIR_BYTES_MAX = 1024 * 1024

Topic = Callable[[Link, bytes], bool | None]
"""Takes a new message; whether it is good and goes on to others. A bad one is its link's fault. None: it is
not known yet; the topic calls `hand_on` if it proves good, blames the link itself if not, and calls `forget`
where it could not tell."""


class GossipLinks(Protocol):
    """What gossip needs of links.py."""

    def handle(self, kind: Kind, handler: Handler) -> None: ...
    def watch(self, up: Callable[[Link], None]) -> None: ...
    def links(self) -> list[Link]: ...
    def fault(self, of: Link | bytes, reason: str) -> None: ...
    def count(self, name: str) -> None: ...
    def answer_wait_s(self, link: Link) -> float: ...
    def charge(self, link: Link, size: int) -> None: ...


class Gossiper:
    """This node's part in the gossip of all. Make it before the links run, and run() beside them."""

    def __init__(
        self, links: GossipLinks, have_s: float, clock: Callable[[], float] = trio.current_time
    ) -> None:
        self._links = links
        self._have_s = have_s
        self._clock = clock
        self._topics: dict[int, Topic] = {}
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._held: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        """Digest -> (since, encoded message), the oldest first."""
        self._held_bytes = 0
        self._asked: OrderedDict[bytes, float] = OrderedDict()
        self._rounds: list[list[bytes]] = [[]]
        links.handle(Kind.GOSSIP, self._gossip)
        links.handle(Kind.HAVE, self._have)
        links.handle(Kind.WANT, self._want)
        links.watch(self._link_up)

    def subscribe(self, topic: int, take: Topic) -> None:
        """Give new messages of a topic to `take`; one taker a topic."""
        assert topic not in self._topics, f"topic {topic} is taken"
        self._topics[topic] = take

    def publish(self, topic: int, body: bytes) -> bytes:
        """Send a message to everybody; return its digest. One that was seen before is not sent again."""
        assert len(body) <= GOSSIP_BYTES_MAX, f"{len(body)} bytes; at most {GOSSIP_BYTES_MAX} are gossiped"
        digest = gossip_digest(topic, body)
        if digest not in self._seen:
            self._spread(digest, encode_message(Gossip(topic, body)), None)
        return digest

    def hand_on(self, topic: int, body: bytes, source: Link) -> None:
        """Send on a message that `source` brought and that proved good."""
        self._spread(gossip_digest(topic, body), encode_message(Gossip(topic, body)), source)

    def forget(self, topic: int, body: bytes) -> None:
        """Take a message again when it comes again: it was not judged, since its bringer's share was used up
        or there was no room. Or else whoever is quickest with another's message keeps it from all."""
        digest = gossip_digest(topic, body)
        self._seen.pop(digest, None)
        # It came just now: or each peer that offers it next would have to send it too.
        self._note_asked(digest)

    async def run(self) -> None:
        """Offer digests for repair, until cancelled."""
        while True:
            await trio.sleep(self._have_s)
            digests = [digest for newest in self._rounds for digest in newest if digest in self._held]
            for link in self._links.links():
                _offer(link, digests)
            self._rounds = [*self._rounds[-(OFFERS - 1) :], []]
            self._forget_old()

    def _gossip(self, link: Link, messages: list[Gossip], raw: list[bytes]) -> None:
        for message, encoded in zip(messages, raw, strict=True):
            digest = gossip_digest(message.topic, message.body)
            if digest in self._seen:
                self._links.count("gossip_duplicates")
                continue
            self._remember(digest)
            take = self._topics.get(message.topic)
            if take is None:
                # Handed on unread, it would let one link flood everybody through us.
                self._links.fault(link, "unknown_topic")
                continue
            good = take(link, message.body)
            if good is None:
                continue
            if not good:
                self._links.fault(link, "bad_gossip")
                continue
            self._spread(digest, encoded, link)

    def _have(self, link: Link, messages: list[tuple[bytes, ...]], raw: list[bytes]) -> None:
        now = self._clock()
        missing: list[bytes] = []
        for digests in messages:
            for digest in digests:
                if digest in self._seen or now - self._asked.get(digest, -ASK_AGAIN_S) < ASK_AGAIN_S:
                    continue
                self._note_asked(digest)
                missing.append(digest)
        for start in range(0, len(missing), DIGESTS_MAX):
            link.send(Kind.WANT, encode_message(tuple(missing[start : start + DIGESTS_MAX])))

    def _note_asked(self, digest: bytes) -> None:
        self._asked[digest] = self._clock()
        self._asked.move_to_end(digest)
        if len(self._asked) > ASKED_MAX:
            self._asked.popitem(last=False)

    def _want(self, link: Link, messages: list[tuple[bytes, ...]], raw: list[bytes]) -> None:
        budget = REPAIR_BYTES_MAX
        for digests in messages:
            for digest in digests:
                held = self._held.get(digest)
                if held is None:
                    continue
                budget -= len(held[1])
                if budget < 0 or self._links.answer_wait_s(link) > 0.0:
                    # Offered again in the next round, and to be had then, or of another.
                    self._links.count("gossip_refused.over_budget")
                    return
                self._links.charge(link, len(held[1]))
                self._links.count("gossip_repaired")
                link.send(Kind.GOSSIP, held[1])

    def _link_up(self, link: Link) -> None:
        _offer(link, list(self._held))

    def _spread(self, digest: bytes, encoded: bytes, source: Link | None) -> None:
        self._remember(digest)
        if digest in self._held:
            return  # it went to all, and came back since it was forgotten or is no more among the seen
        self._held[digest] = (self._clock(), encoded)
        self._held_bytes += len(encoded)
        while self._held_bytes > HELD_BYTES_MAX:
            self._drop_oldest()
        self._rounds[-1].append(digest)
        if len(self._rounds[-1]) > DIGESTS_MAX:
            del self._rounds[-1][0]
        for link in self._links.links():
            if link is not source:
                link.send(Kind.GOSSIP, encoded)

    def _remember(self, digest: bytes) -> None:
        self._seen[digest] = None
        self._asked.pop(digest, None)
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)

    def _forget_old(self) -> None:
        oldest = self._clock() - HELD_S
        while self._held and next(iter(self._held.values()))[0] < oldest:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, (_, encoded) = self._held.popitem(last=False)
        self._held_bytes -= len(encoded)


def gossip_digest(topic: int, body: bytes) -> bytes:
    """Return what names a message of gossip."""
    return sha256(b"gossip" + bytes((topic,)) + body).digest()


def _offer(link: Link, digests: list[bytes]) -> None:
    """Offer the newest of these."""
    if digests:
        link.send(Kind.HAVE, encode_message(tuple(digests[-DIGESTS_MAX:])))
