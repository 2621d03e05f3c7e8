"""What waits, by sender: reservations, nonces in order, fair turns. No ledger, no clock, no signatures.

A sender's transactions lie between `base`, the nonce that executes next, and a window beyond. Those without a
gap before them are released to the sender's lane; those below `next` have left for it.
"""

from collections import deque

from prsm_node.mempool.batching import BatchClock


class Entry:
    """One admitted transaction."""

    __slots__ = ("cost", "hash", "nonce", "raw", "seen", "sender", "since_ms", "source")

    def __init__(
        self, sender: "Sender", raw: bytes, hash_: bytes, nonce: int, cost: int, source: int, since_ms: int
    ) -> None:
        self.sender = sender
        self.raw = raw
        self.hash = hash_
        self.nonce = nonce
        self.cost = cost
        """Amounts and fee, base units."""
        self.source = source
        self.since_ms = since_ms
        self.seen = False
        """A certified batch holds it."""


class Sender:
    """One sender's pending transactions and where they go."""

    __slots__ = (
        "address",
        "base",
        "certified",
        "entries",
        "lane",
        "moved_ms",
        "next",
        "ranks",
        "released",
        "reserved",
        "sealed",
        "shift",
        "turning",
    )

    def __init__(self, address: bytes, base: int, now_ms: int) -> None:
        self.address = address
        self.base = base
        self.next = base
        self.released = base
        self.sealed = base
        """Batches of this node's own lane hold what is below: they stay until they are ordered."""
        self.entries: dict[int, Entry] = {}
        self.reserved = 0
        self.ranks: tuple[bytes, ...] = ()
        self.shift = 0
        """Where in `ranks` its lane is, counted on when all of them were tried."""
        self.lane: bytes | None = None
        self.moved_ms = now_ms
        """When it was last given to a lane, or had a transaction executed."""
        self.turning = False
        self.certified: tuple[Entry, int, int] | None = None
        """The oldest entry when it was first looked after and a certified batch held it, the height and the
        time of that."""


class Pending:
    """All that waits. `mine` is this validator's lane; what goes elsewhere collects in `outgoing`."""

    def __init__(self, mine: bytes | None, clock: BatchClock) -> None:
        self.senders: dict[bytes, Sender] = {}
        self.by_hash: dict[bytes, Entry] = {}
        self.by_source: dict[int, int] = {}
        self.bytes = 0
        self.gapped = self.gapped_bytes = 0
        """Of those that wait for a predecessor."""
        self.outgoing: dict[bytes, dict[bytes, Entry]] = {}
        """By lane, then by hash, in the order of release."""
        self._mine = mine
        self._clock = clock
        self._turns: deque[Sender] = deque()

    def add(self, entry: Entry) -> None:
        """Reserve and keep. The caller has checked the nonce to be free and the balance to suffice."""
        sender = entry.sender
        assert entry.nonce not in sender.entries, f"nonce {entry.nonce} twice"
        sender.entries[entry.nonce] = entry
        sender.reserved += entry.cost
        self.by_hash[entry.hash] = entry
        self.bytes += len(entry.raw)
        self.by_source[entry.source] = self.by_source.get(entry.source, 0) + 1
        if entry.nonce >= sender.released:
            self._gap(entry, 1)

    def _forget(self, entry: Entry) -> None:
        sender = entry.sender
        sender.reserved -= entry.cost
        del self.by_hash[entry.hash]
        self.bytes -= len(entry.raw)
        left = self.by_source[entry.source] - 1
        if left:
            self.by_source[entry.source] = left
        else:
            del self.by_source[entry.source]
        if entry.nonce >= sender.released:
            self._gap(entry, -1)
        elif sender.lane == self._mine and sender.next <= entry.nonce:
            self._clock.removed(len(entry.raw))

    def _gap(self, entry: Entry, count: int) -> None:
        self.gapped += count
        self.gapped_bytes += count * len(entry.raw)

    def release(self, sender: Sender, now_ms: int) -> bool:
        """Give the sender's lane what has no gap before it; return whether there was anything."""
        entries = sender.entries
        nonce = first = sender.released
        mine = sender.lane == self._mine
        if sender.lane is None:
            return False
        while (entry := entries.get(nonce)) is not None:
            self._gap(entry, -1)
            if mine:
                self._clock.queued(now_ms, len(entry.raw))
            else:
                self.outgoing.setdefault(sender.lane, {})[entry.hash] = entry
            nonce += 1
        if nonce == first:
            return False
        sender.released = nonce
        if not mine:
            sender.next = nonce
        elif not sender.turning:
            sender.turning = True
            self._turns.append(sender)
        return True

    def move(self, sender: Sender, lane: bytes | None, now_ms: int) -> bool:
        """Give all that the sender has waiting to another lane, in the order of nonces; to this node's own
        what its batches do not hold yet."""
        if sender.lane == self._mine:
            for nonce in range(sender.next, sender.released):
                self._clock.removed(len(sender.entries[nonce].raw))
        first = sender.base if lane != self._mine else max(sender.base, sender.sealed)
        for nonce in range(first, sender.released):
            self._gap(sender.entries[nonce], 1)
        sender.next = sender.released = first
        sender.lane = lane
        sender.moved_ms = now_ms
        return self.release(sender, now_ms)

    def spend(self, sender: Sender, base: int, now_ms: int) -> None:
        """The account's nonce is now `base`: what lies below is executed or superseded."""
        if base <= sender.base:
            return
        entries = sender.entries
        if base - sender.base <= len(entries):
            gone = [entries.pop(nonce, None) for nonce in range(sender.base, base)]
        else:
            gone = [entries.pop(nonce) for nonce in sorted(entries) if nonce < base]
        for entry in gone:
            if entry is not None:
                self._forget(entry)
        sender.base = base
        sender.moved_ms = now_ms
        if sender.next < base:
            sender.next = base
        if sender.released < base:
            sender.released = base
        if not entries:
            self.senders.pop(sender.address, None)
            return
        self.release(sender, now_ms)

    def drop_all(self, sender: Sender) -> int:
        """Forget a sender whose predecessors did not come; return how many transactions it had."""
        dropped = len(sender.entries)
        for entry in sender.entries.values():
            self._forget(entry)
        sender.entries.clear()
        sender.next = sender.released = sender.base
        self.senders.pop(sender.address, None)
        return dropped

    def shed(self, sender: Sender, balance: int) -> int:
        """Forget the last nonces of a sender whose balance does not cover all that it has waiting; return how
        many."""
        entries = sender.entries
        before = len(entries)
        for nonce in sorted(entries, reverse=True):
            if sender.reserved <= balance:
                break
            self._forget(entries.pop(nonce))
            sender.next = min(sender.next, nonce)
            sender.released = min(sender.released, nonce)
            sender.sealed = min(sender.sealed, nonce)
        if not entries:
            self.senders.pop(sender.address, None)
        return before - len(entries)

    def take(self, bytes_max: int) -> list[Entry]:
        """Return transactions of this lane, one a sender and turn, nonces in order."""
        taken: list[Entry] = []
        size = 5
        turns = self._turns
        while turns:
            sender = turns.popleft()
            if sender.next >= sender.released or sender.lane != self._mine:
                sender.turning = False
                continue
            entry = sender.entries[sender.next]
            raw = entry.raw
            if size + len(raw) + 3 > bytes_max and taken:
                turns.appendleft(sender)
                break
            sender.next += 1
            sender.sealed = sender.next
            size += len(raw) + 3
            taken.append(entry)
            if sender.next < sender.released:
                turns.append(sender)
            else:
                sender.turning = False
        return taken
