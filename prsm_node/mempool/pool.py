"""The mempool takes transactions in, gives them to their lanes, keeps them until they are executed (Lanes 5).

Cheap checks come before signature checks, and a duplicate costs one hash. Nothing is reserved before the
signature holds, or anybody could block a sender's nonces. pending.py keeps the books, batching.py says when a
batch closes, hand_over.py when a sender goes to another lane, bodies.py checks the batches of others.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

import msgspec
import trio

from prsm_node.ledger.transactions import (
    TRANSACTION_BYTES_MAX,
    MalformedTransaction,
    Transaction,
    decode_transaction,
)
from prsm_node.mempool.admission import Admission, LedgerView, Limits, Reason, cost, follows
from prsm_node.mempool.batching import CLOSE_BYTES, CLOSE_MS, PATIENCE_MS, BatchClock, Sealed
from prsm_node.mempool.bodies import BodyVerdict, VerifiedCache, check_body
from prsm_node.mempool.hand_over import HandOver
from prsm_node.mempool.lane_choice import Powers
from prsm_node.mempool.pending import Entry, Pending, Sender
from prsm_node.verification.verifier import Verifier

Forward = Callable[[bytes, list[bytes]], bool]
"""Queue raw transactions for a validator and return at once; False where there is no way to it now."""

TICK_MS = 250
FORWARD_BYTES = 64_000
MANY_FORWARDS = 4
FORWARD_MS = 50

_encode = msgspec.msgpack.Encoder().encode


class MempoolStats(msgspec.Struct, frozen=True):
    items: int
    bytes: int
    senders: int
    ready_bytes: int
    checking: int
    admissions: dict[str, int]
    """By reason, since the start."""
    handed_over: int
    expired: int
    unpayable: int
    """Dropped, as `expired` are: the sender's balance covers them no more."""


class Mempool:
    """All methods belong to the event loop. `on_ready` is called when a batch may have become due."""

    def __init__(
        self,
        me: bytes | None,
        ledger: LedgerView,
        verifier: Verifier,
        lanes: Callable[[], Powers],
        forward: Forward,
        limits: Limits,
        now_ms: Callable[[], int],
        linked: Callable[[bytes], bool] = lambda author: True,
    ) -> None:
        """`linked` says whether a validator can be reached now."""
        self.on_ready: Callable[[], None] | None = None
        self._me = me
        self._ledger = ledger
        self._verifier = verifier
        self._forward = forward
        self._limits = limits
        self._now_ms = now_ms
        self._clock = BatchClock()
        self._pending = Pending(me, self._clock)
        self._hand_over = HandOver(me, self._pending, lanes, linked, limits)
        self._verified = VerifiedCache()
        self._checking: dict[bytes, trio.Event] = {}
        """By hash: set once its check is over."""
        self._checking_bytes = 0
        self._checking_of: Counter[int] = Counter()
        self._wake = trio.Event()
        self._reasons = [0] * len(Reason)
        self._unpayable = 0

    def stats(self) -> MempoolStats:
        return MempoolStats(
            items=len(self._pending.by_hash),
            bytes=self._pending.bytes,
            senders=len(self._pending.senders),
            ready_bytes=self._clock.ready_bytes,
            checking=len(self._checking),
            admissions={reason.name.lower(): self._reasons[reason] for reason in Reason},
            handed_over=self._hand_over.handed_over,
            expired=self._hand_over.expired,
            unpayable=self._unpayable,
        )

    def pending(self, digest: bytes) -> bytes | None:
        """Return the raw transaction that waits under this hash."""
        entry = self._pending.by_hash.get(digest)
        return entry.raw if entry is not None else None

    def next_nonce(self, address: bytes, nonce: int) -> int:
        """Return the first nonce from the account's `nonce` on that no waiting transaction of it takes."""
        sender = self._pending.senders.get(address)
        while sender is not None and nonce in sender.entries:
            nonce += 1
        return nonce

    async def submit(self, raws: Sequence[bytes], source: int, by: bytes | None = None) -> list[Admission]:
        """Admit or refuse each, with a reason. `source` is a link's number, or 0 for this node's own api;
        `by` is the key of the validator, if it is one, that sent them to this node's lane.

        Cancelling refuses what was not answered yet.
        """
        answers: list[Admission | None] = []
        checked: list[tuple[int, bytes, bytes, Transaction]] = []
        for raw in raws:
            digest = sha256(raw).digest()
            reason = self._cheap(raw, digest, source, checked, len(answers))
            answers.append(None if reason is None else self._answer(digest, reason))
            if reason is Reason.DUPLICATE and by is not None:
                known = self._pending.by_hash.get(digest)
                if known is not None:
                    self._hand_over.handed(known.sender, by, self._now_ms())
        if checked:
            try:
                results = await self._verifier.check([raw for _, raw, _, _ in checked])
            finally:
                for _, raw, digest, _ in checked:
                    self._checking.pop(digest).set()
                    self._checking_bytes -= len(raw)
                self._checking_of[source] -= len(checked)
                if not self._checking_of[source]:
                    del self._checking_of[source]
            self._admit_all(checked, results, source, by, answers)
        self._announce()
        return [answer for answer in answers if answer is not None]

    async def judged(self, digest: bytes) -> None:
        """Return when a transaction that is being checked is taken or refused; at once for any other."""
        checking = self._checking.get(digest)
        if checking is not None:
            await checking.wait()

    def _answer(self, digest: bytes, reason: Reason) -> Admission:
        self._reasons[reason] += 1
        return Admission(digest, reason is Reason.ACCEPTED, reason)

    def _cheap(
        self,
        raw: bytes,
        digest: bytes,
        source: int,
        checked: list[tuple[int, bytes, bytes, Transaction]],
        place: int,
    ) -> Reason | None:
        """Refuse what needs no signature check to be refused; otherwise put it on `checked`."""
        pending, limits = self._pending, self._limits
        if digest in pending.by_hash or digest in self._checking:
            return Reason.DUPLICATE
        if len(raw) > TRANSACTION_BYTES_MAX:
            return Reason.MALFORMED
        checking = len(self._checking)
        free = limits.items_max - len(pending.by_hash) - checking
        size = pending.bytes + self._checking_bytes + len(raw)
        if free <= 0 or size > limits.bytes_max or checking >= limits.checking_max:
            return Reason.FULL
        # A source may hold as much as is still free: one alone half, two a third each, some for the next.
        held = pending.by_source.get(source, 0) + self._checking_of[source]
        if held >= free and held >= limits.source_items_min:
            return Reason.SOURCE_SHARE
        try:
            transaction = decode_transaction(raw)
        except MalformedTransaction:
            return Reason.MALFORMED
        sender, before = pending.senders.get(transaction.sender), checked[-1][3] if checked else None
        reason = self._books(transaction, sender, free)
        if reason is None and not follows(transaction, before) and self._lacks_too_much(transaction, sender):
            return Reason.FULL
        if reason is None:
            checked.append((place, raw, digest, transaction))
            self._checking[digest] = trio.Event()
            self._checking_bytes += len(raw)
            self._checking_of[source] += 1
        return reason

    def _books(self, transaction: Transaction, sender: Sender | None, free: int) -> Reason | None:
        """Check nonce, fee, share and balance against the account and all that its sender has waiting."""
        ledger = self._ledger
        account = ledger.account(transaction.sender)
        base = account.nonce if account is not None else 0
        nonce = transaction.nonce
        if nonce < base:
            return Reason.NONCE_SPENT
        if nonce >= base + ledger.nonce_window:
            return Reason.NONCE_TOO_FAR
        operations = transaction.operations
        if transaction.fee < ledger.fee_min * len(operations):
            return Reason.FEE_TOO_LOW
        reserved = 0
        if sender is not None:
            if nonce in sender.entries:
                return Reason.NONCE_TAKEN
            held = len(sender.entries)
            if held >= self._limits.sender_items_min and held >= free >> 2:
                return Reason.SENDER_SHARE
            reserved = sender.reserved
        if reserved + cost(transaction) > (account.balance if account is not None else 0):
            return Reason.OVERDRAWN
        return None

    def _admit_all(
        self,
        checked: list[tuple[int, bytes, bytes, Transaction]],
        results: bytes,
        source: int,
        by: bytes | None,
        answers: list[Admission | None],
    ) -> None:
        now_ms = self._now_ms()
        pending = self._pending
        for (place, raw, digest, transaction), good in zip(checked, results, strict=True):
            if not good:
                answers[place] = self._answer(digest, Reason.WRONG_SIGNATURE)
                continue
            self._verified.add(digest)
            sender = pending.senders.get(transaction.sender)
            # Again, for others were admitted and executed while the signature was being checked.
            free = self._limits.items_max - len(pending.by_hash)
            full = free <= 0 or self._lacks_too_much(transaction, sender)
            reason = Reason.FULL if full else self._books(transaction, sender, free)
            if reason is None:
                if sender is None:
                    sender = self._new_sender(transaction.sender, now_ms)
                pending.add(Entry(sender, raw, digest, transaction.nonce, cost(transaction), source, now_ms))
                if by is not None:
                    self._hand_over.handed(sender, by, now_ms)
                pending.release(sender, now_ms)
                reason = Reason.ACCEPTED
            answers[place] = self._answer(digest, reason)

    def _lacks_too_much(self, transaction: Transaction, sender: Sender | None) -> bool:
        """Whether it would wait for a predecessor, as too many do already."""
        if not self._limits.gaps_full(self._pending.gapped, self._pending.gapped_bytes):
            return False
        account = self._ledger.account(transaction.sender)
        base = account.nonce if account is not None else 0
        return transaction.nonce > (base if sender is None else sender.released)

    def _new_sender(self, address: bytes, now_ms: int) -> Sender:
        account = self._ledger.account(address)
        sender = Sender(address, account.nonce if account is not None else 0, now_ms)
        self._hand_over.begin(sender)
        self._pending.senders[address] = sender
        return sender

    def _announce(self) -> None:
        if self._pending.outgoing:
            self._wake.set()
        if self._clock.ready_bytes and self.on_ready is not None:
            self.on_ready()

    def batch_due(self, now_ms: int, outstanding: int) -> int | None:
        """Return in how many ms to call `seal`, 0 for now, None while nothing is ready.

        `outstanding` counts own batches that lack their certificate.
        """
        return self._clock.due(now_ms, outstanding)

    def batch_bytes(self, outstanding: int) -> int:
        """How large the next batch may be."""
        return self._clock.bytes_wanted(outstanding)

    def seal(self, bytes_max: int = CLOSE_BYTES) -> Sealed | None:
        """Close a body of this node's lane; None where nothing is ready."""
        taken = self._pending.take(bytes_max)
        if not taken:
            return None
        raws = [entry.raw for entry in taken]
        self._clock.sealed(self._now_ms(), sum(map(len, raws)))
        body = _encode(raws)
        return Sealed(body, sha256(body).digest(), len(raws), tuple(entry.hash for entry in taken))

    async def check_body(self, body: bytes, spent_allowed: bool = False) -> BodyVerdict:
        """Say whether the body of another lane's batch may be acknowledged.

        `spent_allowed`: it is certified already, or its author paid for its spent nonces by waiting.
        """
        return await check_body(body, self._ledger, self._verifier, self._verified, spent_allowed)

    async def forged(self, raws: Sequence[bytes]) -> tuple[list[Reason], int]:
        """Return MALFORMED or WRONG_SIGNATURE for each that is so in itself, whatever the books say of it,
        and how many signatures that took."""
        bad: list[Reason] = []
        unknown: list[bytes] = []
        for raw in raws:
            try:
                decode_transaction(raw)
            except MalformedTransaction:
                bad.append(Reason.MALFORMED)
                continue
            if sha256(raw).digest() not in self._verified:
                unknown.append(raw)
        results = await self._verifier.check(unknown) if unknown else b""
        return bad + [Reason.WRONG_SIGNATURE] * results.count(0), len(unknown)

    def certified(self, hashes: Iterable[bytes]) -> None:
        """These are in a certified batch: no other lane need carry them."""
        by_hash = self._pending.by_hash
        for digest in hashes:
            entry = by_hash.get(digest)
            if entry is not None:
                entry.seen = True

    def executed(self, height: int, transactions: Iterable[tuple[bytes, bytes, int]]) -> None:
        """Drop (hash, sender, nonce) that block `height` executed, or that it charged and refused.

        To be called when the ledger view shows that block.
        """
        now_ms = self._now_ms()
        self._hand_over.height = height
        senders = self._pending.senders
        spend = self._pending.spend
        for _, address, nonce in transactions:
            sender = senders.get(address)
            if sender is not None:
                spend(sender, nonce + 1, now_ms)
                self._shed(sender)
        self._announce()

    def _shed(self, sender: Sender) -> None:
        """Drop what its sender can pay no more, since another transaction than the one that waited here took
        its nonce: every lane refuses it, and nothing else would ever end its waiting."""
        if sender.entries:
            account = self._ledger.account(sender.address)
            balance = account.balance if account is not None else 0
            if sender.reserved > balance:
                self._unpayable += self._pending.shed(sender, balance)

    def ahead(self, hashes: Iterable[bytes]) -> None:
        """A block ordered these before what they follow and executed none: no batch holds them any more."""
        for digest in hashes:
            entry = self._pending.by_hash.get(digest)
            if entry is not None:
                entry.seen = False
                entry.sender.sealed = min(entry.sender.sealed, entry.nonce)

    async def run(self) -> None:
        """Own forwarding, hand-overs and expiry. Cancelling loses nothing that is kept."""
        tick_ms = self._now_ms() + TICK_MS
        while True:
            with trio.move_on_after(TICK_MS / 1000):
                await self._wake.wait()
            self._wake = trio.Event()
            waiting = sum(map(len, self._pending.outgoing.values()))
            self.flush_forwards()
            if self._now_ms() >= tick_ms:
                self.tick()
                tick_ms = self._now_ms() + TICK_MS
            # The first after a quiet spell leaves at once; under load they gather, as batches do.
            await trio.sleep(
                (PATIENCE_MS if waiting >= MANY_FORWARDS else FORWARD_MS if waiting else CLOSE_MS) / 1000
            )

    def flush_forwards(self) -> None:
        """Send what goes to other lanes; what finds no way now is tried again with the next tick."""
        outgoing, self._pending.outgoing = self._pending.outgoing, {}
        for author, entries in outgoing.items():
            waiting = [entry for entry in entries.values() if self._goes_to(author, entry)]
            start = size = 0
            for place, entry in enumerate(waiting):
                if size and size + len(entry.raw) > FORWARD_BYTES:
                    self._forward_all(author, waiting[start:place])
                    start, size = place, 0
                size += len(entry.raw)
            self._forward_all(author, waiting[start:])

    def _goes_to(self, author: bytes, entry: Entry) -> bool:
        """Whether it still waits for this lane, and was not executed or handed over meanwhile."""
        return entry.hash in self._pending.by_hash and entry.sender.lane == author

    def _forward_all(self, author: bytes, entries: list[Entry]) -> None:
        if entries and not self._forward(author, [entry.raw for entry in entries]):
            again = self._pending.outgoing.setdefault(author, {})
            again.update((entry.hash, entry) for entry in entries)

    def tick(self) -> None:
        """Look after what waits too long (hand_over.py)."""
        self._hand_over.tick(self._now_ms())
        self._announce()

    def author_linked(self, author: bytes) -> None:
        """A link to this validator was made (anew)."""
        self._hand_over.author_linked(author, self._now_ms())
        self._announce()
