"""When a sender's transactions go to another lane (Lanes 5): its author is silent, gone or out of the set, or
a validator chose this node's lane for them.

Nodes differ in whom they hold silent, above all after a cut. So a validator that is handed a transaction by
another one carries it, whomever it would have chosen itself: two that each took the other's lane for the
right one would send it to and fro, and no batch would hold it. What one may have carried so has a bound: a
faulty one could hand what lies in one lane to all others, and each would order it once more, for nothing.
"""

import heapq
from collections.abc import Callable
from itertools import count

from prsm_node.mempool.admission import Limits
from prsm_node.mempool.lane_choice import LaneChoice, Powers
from prsm_node.mempool.pending import Entry, Pending, Sender
from prsm_node.token_bucket import TokenBucket

# Transactions that one validator may bring to this lane against our own choice of it. A pool's hand-over of
# 50,000 is mostly of senders whose lane we choose alike; the rest waits for its turn as if nobody had asked.
# Of 7,000/s a faulty one has 4 % ordered once more by each lane.
CHOSEN_PER_S, CHOSEN_BURST = 256, 2_048
# An author whose link is made anew is sent all that waits for it, up to 8 MiB and 0.05 s of the loop: at most
# so often, or one that hangs up and comes again had us do nothing else.
SENT_AGAIN_EVERY_MS = 1_000
# What another lane's certified batch holds is ordered by the next block of any honest proposer that has the
# certificate. An author may show that to nobody but who follows: then it is given up after so many blocks
# and so many times the wait for a certificate. Without blocks no lane would be better.
UNORDERED_BLOCKS = 4
UNORDERED_WAITS = 10


class HandOver:
    """Gives the senders of `pending` their lanes, the first and every next one.

    Args:
        lanes: the validators in force.
        linked: whether a validator can be reached now.
    """

    def __init__(
        self,
        me: bytes | None,
        pending: Pending,
        lanes: Callable[[], Powers],
        linked: Callable[[bytes], bool],
        limits: Limits,
    ) -> None:
        self.handed_over = self.expired = 0
        self.height = 0
        """Of the last block executed."""
        self._me = me
        self._pending = pending
        self._lanes = lanes
        self._choice = LaneChoice(me, lanes(), linked)
        self._limits = limits
        self._due: list[tuple[int, int, Sender]] = []
        """A heap: when to look after a sender, each once."""
        self._ticket = count()
        self._may_choose: dict[bytes, TokenBucket] = {}
        """By validator: transactions."""
        self._sent_again_ms: dict[bytes, int] = {}
        self._linked_again: dict[bytes, None] = {}
        """Authors whose link was made so soon after an earlier one that they wait for what is theirs."""

    def begin(self, sender: Sender) -> None:
        """Give a sender without transactions its lane, and look after it from now on."""
        sender.ranks = self._choice.ranks(sender.address)
        sender.shift, sender.lane = self._choice.lane(sender.ranks, 0)
        self._look_at(sender, sender.moved_ms + self._limits.hand_over_ms)

    def handed(self, sender: Sender, by: bytes, now_ms: int) -> None:
        """A validator of the set handed this node a transaction of the sender: it is carried here."""
        me, members = self._me, self._choice.members
        if sender.lane == me or me is None or me not in members or by not in members:
            return
        now = now_ms / 1_000
        bucket = self._may_choose.get(by)
        if bucket is None:
            bucket = self._may_choose[by] = TokenBucket(CHOSEN_PER_S, CHOSEN_BURST, now)
        if bucket.take(len(sender.entries), now):
            sender.shift = sender.ranks.index(me)
            self._pending.move(sender, me, now_ms)

    def author_linked(self, author: bytes, now_ms: int) -> None:
        """Send a lane's author, whose link was made (anew), what waits for it: what was on its way when the
        link before went did not arrive."""
        if author not in self._choice.members:
            return
        last_ms = self._sent_again_ms.get(author)
        if last_ms is not None and now_ms - last_ms < SENT_AGAIN_EVERY_MS:
            self._linked_again[author] = None
            return
        self._linked_again.pop(author, None)
        self._sent_again_ms[author] = now_ms
        for sender in self._pending.senders.values():
            if sender.lane == author != self._me and not all(entry.seen for entry in sender.entries.values()):
                # Its silence goes on: or an author that hangs up and comes again would never be given up.
                self._pending.move(sender, author, sender.moved_ms)

    def tick(self, now_ms: int) -> None:
        """Follow a new validator set, hand over what no lane carries, drop what waits for a gap too long."""
        self._follow_set(now_ms)
        self._leave_the_gone(now_ms)
        for author in list(self._linked_again):
            self.author_linked(author, now_ms)
        while self._due and self._due[0][0] <= now_ms:
            _, _, sender = heapq.heappop(self._due)
            if not sender.entries:
                continue
            due_ms = self._due_ms(sender)
            if due_ms <= now_ms:
                self._look_after(sender, now_ms)
                due_ms = now_ms + self._limits.hand_over_ms
            self._look_at(sender, due_ms)

    def _look_at(self, sender: Sender, at_ms: int) -> None:
        heapq.heappush(self._due, (at_ms, next(self._ticket), sender))

    def _due_ms(self, sender: Sender) -> int:
        """When a sender's lane has been silent for too long, if it stays so."""
        oldest = sender.entries.get(sender.base)
        since_ms = sender.moved_ms if oldest is None else max(sender.moved_ms, oldest.since_ms)
        return since_ms + self._limits.hand_over_ms

    def _look_after(self, sender: Sender, now_ms: int) -> None:
        oldest = sender.entries.get(sender.base)
        if oldest is None:
            waited_ms = now_ms - max(entry.since_ms for entry in sender.entries.values())
            if waited_ms >= self._limits.expire_ms:
                self.expired += self._pending.drop_all(sender)
        elif not oldest.seen or self._unordered(sender, oldest, now_ms):
            sender.shift += 1
            self._next_lane(sender, now_ms)

    def _unordered(self, sender: Sender, oldest: Entry, now_ms: int) -> bool:
        """Whether blocks pass by what a certified batch of another lane holds."""
        if sender.lane == self._me:
            return False  # all validators have the certificate from us, again and again
        certified = sender.certified
        if certified is None or certified[0] is not oldest:
            sender.certified = oldest, self.height, now_ms
            return False
        _, height, since_ms = certified
        waited_ms = UNORDERED_WAITS * self._limits.hand_over_ms
        if self.height - height < UNORDERED_BLOCKS or now_ms - since_ms < waited_ms:
            return False
        sender.certified = None
        return True

    def _next_lane(self, sender: Sender, now_ms: int) -> None:
        sender.shift, lane = self._choice.lane(sender.ranks, sender.shift)
        self.handed_over += 1
        self._pending.move(sender, lane, now_ms)

    def _leave_the_gone(self, now_ms: int) -> None:
        """Hand over at once what waits for authors that are gone."""
        gone = self._choice.gone()
        if not gone:
            return
        for sender in list(self._pending.senders.values()):
            oldest = sender.entries.get(sender.base)
            if sender.lane in gone and oldest is not None and not oldest.seen:
                self._next_lane(sender, now_ms)

    def _follow_set(self, now_ms: int) -> None:
        powers = self._lanes()
        if not self._choice.follow(powers):
            return
        members = self._choice.members
        for by_validator in (self._may_choose, self._sent_again_ms, self._linked_again):
            by_validator.clear()
        for sender in self._pending.senders.values():
            if sender.lane not in members:
                # What a closed lane's batches hold is not ordered any more, certified or not.
                for entry in sender.entries.values():
                    entry.seen = False
            if self._me not in members:
                sender.sealed = sender.base
            sender.ranks = self._choice.ranks(sender.address)
            sender.shift = 0
            lane = sender.ranks[0] if sender.ranks else None
            if lane != sender.lane:
                self._pending.move(sender, lane, now_ms)
