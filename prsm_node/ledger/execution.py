"""The execution of one block's transactions, in the order that its lanes give (PROTOCOL, Blocks 4).

Pure and deterministic: the same accounts, supply and bodies give the same state on every node. Signatures
were checked at the batch, by all alike; positions known to be wrong can be named and are then skipped.

The loop is the hot path of a whole network, hence its shape: bytes are decoded once, an account is loaded at
its first and stored after its last change in a block, and what blocks keep of a transaction is appended to
flat lists.
"""

from array import array
from collections.abc import Callable, Collection, Sequence
from hashlib import sha256
from itertools import accumulate, chain
from typing import Final, NamedTuple

import msgspec

from prsm_node.ledger.accounts import Accounts, Entry
from prsm_node.ledger.outcomes import Outcome, Receipt
from prsm_node.ledger.parameters import Parameters
from prsm_node.ledger.positions import INDEX_MAX, NO_POSITION, position_of
from prsm_node.ledger.supply import Supply
from prsm_node.ledger.transactions import KeyType, MalformedTransaction, Transaction, decode_transaction

_body_decoder: Final = msgspec.msgpack.Decoder(list[bytes])

_PAIR: Final = 2
_ED25519: Final = int(KeyType.ED25519)
# Plain integers: comparing and storing an IntEnum costs five times as much.
_EXECUTED: Final = int(Outcome.EXECUTED)
_OVERDRAWN: Final = int(Outcome.OVERDRAWN)
_RECIPIENT_UNKNOWN_KIND: Final = int(Outcome.RECIPIENT_UNKNOWN_KIND)
_FEE_BELOW_MINIMUM: Final = int(Outcome.FEE_BELOW_MINIMUM)
_NONCE_SPENT: Final = int(Outcome.NONCE_SPENT)
_NONCE_AHEAD: Final = int(Outcome.NONCE_AHEAD)
_FEE_NOT_COVERED: Final = int(Outcome.FEE_NOT_COVERED)
_MALFORMED: Final = int(Outcome.MALFORMED)
_SIGNATURE_INVALID: Final = int(Outcome.SIGNATURE_INVALID)


class Executed(msgspec.Struct, frozen=True):
    """What the execution of one block gave, besides the accounts that it changed."""

    height: int
    supply: Supply
    """After the block."""
    hashes: list[bytes]
    """Of all transactions, in order."""
    outcomes: bytes
    """One Outcome a transaction."""
    previous: "array[int]"
    """For each charged transaction: the position before this one of its sender, then of each recipient."""
    offsets: "array[int]"
    """Where each transaction's part of `previous` begins; empty if each has exactly two."""
    nonces: dict[bytes, int]
    """The next nonce of each sender whose nonce the block moved."""

    def receipt(self, index: int) -> Receipt:
        return Receipt(self.hashes[index], Outcome(self.outcomes[index]), position_of(self.height, index))

    @property
    def receipts(self) -> list[Receipt]:
        """One a transaction, in order; those skipped included."""
        return [self.receipt(index) for index in range(len(self.hashes))]


def transactions_of(body: bytes) -> list[bytes]:
    """Return the raw transactions of a body; a body that is no list of them has none, for all alike."""
    try:
        return _body_decoder.decode(body)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return []


class Decoded(NamedTuple):
    """Transactions taken apart before, when their batch was checked: neither hashed nor decoded again."""

    hashes: Sequence[bytes]
    transactions: Sequence[Transaction | None]
    """None for bytes that are no transaction."""


def decoded(raws: Sequence[bytes]) -> Decoded:
    """Hash and decode raw transactions."""
    transactions: list[Transaction | None] = []
    for raw in raws:
        try:
            transactions.append(decode_transaction(raw))
        except MalformedTransaction:
            transactions.append(None)
    return Decoded([sha256(raw).digest() for raw in raws], transactions)


def execute(
    accounts: Accounts,
    supply: Supply,
    parameters: Parameters,
    height: int,
    raws: Sequence[bytes],
    invalid: Collection[int] = (),
) -> Executed:
    """Execute the raw transactions of block `height` in their order; `invalid`: indexes to skip."""
    return execute_decoded(accounts, supply, parameters, height, [decoded(raws)], invalid)


def execute_decoded(
    accounts: Accounts,
    supply: Supply,
    parameters: Parameters,
    height: int,
    bodies: Sequence[Decoded],
    invalid: Collection[int] = (),
) -> Executed:
    """Execute the transactions of a block's bodies in their order."""
    hashes = [digest for body in bodies for digest in body.hashes]
    assert len(hashes) <= INDEX_MAX, f"height {height}: {len(hashes)} transactions in a block"
    work = _Work(accounts, parameters.fee_min, position_of(height, 0), len(hashes))
    run = work.run
    outcomes = work.outcomes
    for index, transaction in enumerate(chain.from_iterable(body.transactions for body in bodies)):
        if invalid and index in invalid:
            outcomes[index] = _SIGNATURE_INVALID
        elif transaction is None:
            outcomes[index] = _MALFORMED
        else:
            run(index, transaction)
    delta, nonces = work.store_all()
    after = supply.after(height, delta, work.fees)
    parts = work.previous
    uniform = all(len(part) == _PAIR for part in parts)
    offsets = array("I") if uniform else array("I", accumulate(map(len, parts[:-1]), initial=0))
    return Executed(
        height, after, hashes, bytes(outcomes), array("Q", chain.from_iterable(parts)), offsets, nonces
    )


class _Work:
    """The accounts that a block touched so far, and what waits in it."""

    def __init__(self, accounts: Accounts, fee_min: int, base: int, count: int) -> None:
        self.load: Callable[[bytes], Entry | None] = accounts.load
        self.accounts = accounts
        self.fee_min = fee_min
        self.base = base
        self.touched: dict[bytes, Entry] = {}
        self.moved: dict[bytes, Entry] = {}
        """Senders whose nonce moved."""
        self.waiting: dict[bytes, dict[int, list[tuple[int, Transaction]]]] = {}
        """By sender and nonce, in block order: an earlier nonce may still come."""
        self.outcomes = bytearray(count)
        self.previous: list[tuple[int, ...]] = [()] * count
        self.fees = 0

    def run(self, index: int, transaction: Transaction) -> None:
        """Execute one transaction, and those that waited for it."""
        sender = transaction.sender
        entry = self.touched.get(sender)
        if entry is None:
            entry = self.load(sender)
            if entry is not None:
                self.touched[sender] = entry
        nonce = transaction.nonce
        expected = 0 if entry is None else entry.nonce
        if nonce != expected:
            if nonce < expected:
                self.outcomes[index] = _NONCE_SPENT
                return
            self.outcomes[index] = _NONCE_AHEAD
            self.waiting.setdefault(sender, {}).setdefault(nonce, []).append((index, transaction))
            return
        if entry is None:
            self.outcomes[index] = _FEE_NOT_COVERED
            return
        self.apply(index, transaction, entry)
        if self.waiting and sender in self.waiting:
            self.run_waiting(sender, entry)

    def run_waiting(self, sender: bytes, entry: Entry) -> None:
        """Go on with what waited, as far as it follows without a gap."""
        queues = self.waiting[sender]
        while queue := queues.pop(entry.nonce, None):
            for index, transaction in queue:
                if transaction.nonce == entry.nonce:
                    self.apply(index, transaction, entry)
                else:
                    self.outcomes[index] = _NONCE_SPENT
        if not queues:
            del self.waiting[sender]

    def apply(self, index: int, transaction: Transaction, entry: Entry) -> None:
        """Carry out a transaction with its sender's next nonce: wholly, its fee alone, or not at all."""
        fee = transaction.fee
        balance = entry.balance
        if fee > balance:
            self.outcomes[index] = _FEE_NOT_COVERED
            return
        position = self.base | index
        operations = transaction.operations
        cost = fee
        outcome = _EXECUTED
        for operation in operations:
            cost += operation.amount
            if operation.to[0] != _ED25519:
                outcome = _RECIPIENT_UNKNOWN_KIND
        if fee < self.fee_min * len(operations):
            outcome = _FEE_BELOW_MINIMUM
        elif outcome == _EXECUTED and cost > balance:
            outcome = _OVERDRAWN
        self.outcomes[index] = outcome
        self.fees += fee
        before = entry.last
        entry.last = position
        entry.nonce += 1
        self.moved[transaction.sender] = entry
        if outcome != _EXECUTED:
            entry.balance = balance - fee
            self.previous[index] = (before,) + (NO_POSITION,) * len(operations)
            return
        entry.balance = balance - cost
        touched = self.touched
        if len(operations) == 1:
            to = operations[0].to
            recipient = touched.get(to)
            if recipient is None:
                recipient = self.recipient(to)
            recipient.balance += operations[0].amount
            self.previous[index] = (before, recipient.last)
            recipient.last = position
            return
        previous = [before]
        for operation in operations:
            recipient = touched.get(operation.to) or self.recipient(operation.to)
            recipient.balance += operation.amount
            previous.append(recipient.last)
            recipient.last = position
        self.previous[index] = tuple(previous)

    def recipient(self, address: bytes) -> Entry:
        entry = self.load(address) or self.accounts.create(address)
        self.touched[address] = entry
        return entry

    def store_all(self) -> tuple[int, dict[bytes, int]]:
        """Write changed accounts back; return the change of all balances in sum, and the senders' nonces.

        The sum is taken of what was stored against what is stored now, not of what this class believes it
        moved: that is what makes the check of the supply one.
        """
        store = self.accounts.store
        base = self.base
        delta = 0
        for entry in self.touched.values():
            if entry.last >= base:
                delta += store(entry)
        return delta, {sender: entry.nonce for sender, entry in self.moved.items()}
