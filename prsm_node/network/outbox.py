"""What waits to leave on one link: a queue for each kind, bounded in bytes, emptied in order of priority.

Whoever queues never waits. A queue that is full drops its oldest messages: a lost vote or batch is sent
again by its room's timer, lost gossip is repaired, and an old message is worth less than a new one. What was
lost is counted. The bytes of a broadcast message are shared by all links, so a queue costs its link little
more than references until peers differ in speed.
"""

from collections import deque

import trio

from prsm_node.wire.frames import FRAME_OVERHEAD_MAX
from prsm_node.wire.kinds import KINDS, Kind, Priority

MIB = 1024 * 1024
# Of one kind on one link. Agreement: 512 votes of 190 bytes are 97 KB, and 40 certificates of 27 KB a MiB:
# 2 MiB outlast a stall of a second at n = 256. Dissemination: a stalled peer is dropped after 3 s, in which
# 5,800 transfers/s of 250 bytes are 4.4 MB; twice that. Bulk: an answer of 16 MiB waits outside (asking.py).
QUEUE_BYTES_MAX = {
    Priority.AGREEMENT: 2 * MIB,
    Priority.LINK: MIB // 4,
    Priority.DISSEMINATION: 8 * MIB,
    Priority.BULK: 4 * MIB,
}
# A frame takes no further message beyond this: small enough that a vote does not wait long behind one, large
# enough that its 110 us of signing and checking are 1 ns a byte.
FRAME_BYTES_AIM = 128 * 1024
URGENT = frozenset(kind for kind in Kind if KINDS[kind].priority is Priority.AGREEMENT)
IN_ORDER = sorted(Kind, key=lambda kind: (KINDS[kind].priority, kind))


class Outbox:
    """The queues of one link. One task takes; any code may put."""

    def __init__(self) -> None:
        self._queues: dict[Kind, deque[bytes]] = {kind: deque() for kind in IN_ORDER}
        self._bytes: dict[Kind, int] = dict.fromkeys(IN_ORDER, 0)
        self._waiting = 0
        self._over = False
        self._awake = trio.Event()
        self._urgent = trio.Event()
        self._left = trio.Event()
        self.spread = 0
        """Messages of dissemination queued so far: they tell a busy link from one with a lone transfer."""
        self.lost = 0
        """Messages dropped because a queue was full."""

    def put(self, kind: Kind, message: bytes) -> None:
        """Queue an encoded message and return at once."""
        queue = self._queues[kind]
        queue.append(message)
        held = self._bytes[kind] + len(message)
        bound = QUEUE_BYTES_MAX[KINDS[kind].priority]
        self._waiting += 1
        while held > bound and len(queue) > 1:
            held -= len(queue.popleft())
            self._waiting -= 1
            self.lost += 1
        self._bytes[kind] = held
        self._awake.set()
        if kind in URGENT:
            self._urgent.set()
        elif KINDS[kind].priority is Priority.DISSEMINATION:
            self.spread += 1

    def take(self) -> tuple[Kind, list[bytes]] | None:
        """Return what the next frame carries: the most urgent kind's messages, the oldest first."""
        for kind in IN_ORDER:
            queue = self._queues[kind]
            if not queue:
                continue
            bound = KINDS[kind].frame_bytes_max - FRAME_OVERHEAD_MAX
            aim = min(FRAME_BYTES_AIM, bound)
            messages = [queue.popleft()]
            size = len(messages[0])
            while queue and size + len(queue[0]) <= aim:
                messages.append(queue.popleft())
                size += len(messages[-1])
            self._bytes[kind] -= size
            self._waiting -= len(messages)
            self._left.set()
            return kind, messages
        return None

    async def wait_urgent(self) -> None:
        """Return when something waits that a round of agreement waits for."""
        if not any(self._queues[kind] for kind in URGENT):
            self._urgent = trio.Event()
            await self._urgent.wait()

    async def wait(self) -> None:
        """Return when something waits to leave."""
        if not self._waiting:
            self._awake = trio.Event()
            await self._awake.wait()

    async def wait_below(self, kind: Kind, size: int) -> None:
        """Return when at most `size` bytes of a kind wait, or at wake()."""
        while self._bytes[kind] > size:
            self._left = left = trio.Event()
            await left.wait()
            if self._over:
                return

    def wake(self) -> None:
        """The link is over: nobody waits any longer."""
        self._over = True
        self._left.set()

    @property
    def depth(self) -> int:
        """Messages that wait."""
        return self._waiting

    @property
    def depth_bytes(self) -> int:
        """Bytes that wait."""
        return sum(self._bytes.values())
