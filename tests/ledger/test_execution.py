"""A block's execution against the same rules told slowly, on a plain dict of balances and nonces."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prsm_node.ledger.accounts import Entry
from prsm_node.ledger.execution import Executed, execute, transactions_of
from prsm_node.ledger.outcomes import Outcome
from prsm_node.ledger.parameters import Parameters
from prsm_node.ledger.positions import position_of
from prsm_node.ledger.supply import Supply
from prsm_node.ledger.transactions import Transfer, decode_transaction, unsigned_bytes, with_signature

FEE = 10
RULES = Parameters(fee_min=FEE)
A, B, C, D = (b"\x01" + letter * 32 for letter in (b"a", b"b", b"c", b"d"))
ODD = b"\x07" + b"o" * 32


class Dictionary:
    """Accounts in memory."""

    def __init__(self, balances: dict[bytes, int]) -> None:
        self.records = {address: [balance, 0, 0] for address, balance in balances.items()}
        self.order = list(self.records)

    def load(self, address: bytes) -> Entry | None:
        record = self.records.get(address)
        return None if record is None else Entry(self.order.index(address), *record)

    def create(self, address: bytes) -> Entry:
        self.order.append(address)
        self.records[address] = [0, 0, 0]
        return Entry(len(self.order) - 1, 0, 0, 0)

    def store(self, entry: Entry) -> int:
        record = self.records[self.order[entry.number]]
        before = record[0]
        record[:] = [entry.balance, entry.nonce, entry.last]
        return entry.balance - before


def raw(sender: bytes, nonce: int, *to: tuple[bytes, int], fee: int = FEE) -> bytes:
    operations = tuple(Transfer(*operation) for operation in to)
    return with_signature(unsigned_bytes(sender, nonce, fee, operations), bytes(64))


def supply_of(accounts: Dictionary) -> Supply:
    total = sum(balance for balance, _, _ in accounts.records.values())
    return Supply(minted=total, burned=0, treasury=0, in_accounts=total)


def run(accounts: Dictionary, *raws: bytes, invalid: tuple[int, ...] = ()) -> Executed:
    return execute(accounts, supply_of(accounts), RULES, 1, raws, invalid)


def outcomes(executed: Executed) -> list[Outcome]:
    return [receipt.outcome for receipt in executed.receipts]


def balances(accounts: Dictionary, *addresses: bytes) -> list[int]:
    return [accounts.records[address][0] for address in addresses]


def test_a_transfer_moves_its_amount_and_pays_its_fee_to_the_treasury() -> None:
    accounts = Dictionary({A: 100, B: 5})
    executed = run(accounts, raw(A, 0, (B, 30)))
    assert outcomes(executed) == [Outcome.EXECUTED]
    assert balances(accounts, A, B) == [60, 35]
    assert executed.supply == Supply(minted=105, burned=0, treasury=FEE, in_accounts=95)
    assert executed.nonces == {A: 1}


def test_a_nonce_too_high_waits_for_its_predecessors_within_the_block() -> None:
    accounts = Dictionary({A: 100})
    executed = run(accounts, raw(A, 2, (B, 3)), raw(A, 1, (B, 2)), raw(A, 0, (B, 1)))
    assert outcomes(executed) == [Outcome.EXECUTED] * 3
    assert accounts.records[A][:2] == [100 - 6 - 3 * FEE, 3]


def test_a_nonce_whose_predecessor_does_not_come_is_neither_executed_nor_charged() -> None:
    accounts = Dictionary({A: 100})
    executed = run(accounts, raw(A, 1, (B, 2)))
    assert outcomes(executed) == [Outcome.NONCE_AHEAD]
    assert accounts.records[A] == [100, 0, 0]
    assert executed.nonces == {}


def test_one_that_fails_but_can_pay_its_fee_pays_and_spends_its_nonce() -> None:
    accounts = Dictionary({A: 100})
    executed = run(accounts, raw(A, 0, (B, 91)), raw(A, 1, (B, 80)))
    assert outcomes(executed) == [Outcome.OVERDRAWN, Outcome.EXECUTED]
    assert balances(accounts, A, B) == [0, 80]


def test_one_that_cannot_pay_its_fee_is_not_charged_and_stops_its_successors() -> None:
    accounts = Dictionary({A: FEE - 1})
    executed = run(accounts, raw(A, 1, (B, 1)), raw(A, 0, (B, 1)))
    assert outcomes(executed) == [Outcome.NONCE_AHEAD, Outcome.FEE_NOT_COVERED]
    assert accounts.records[A] == [FEE - 1, 0, 0]


def test_what_a_block_brings_can_be_spent_in_it() -> None:
    accounts = Dictionary({A: 100})
    executed = run(accounts, raw(B, 1, (C, 5)), raw(A, 0, (B, 50)), raw(B, 0, (C, 5)))
    assert outcomes(executed) == [Outcome.EXECUTED] * 3
    assert balances(accounts, B, C) == [50 - 10 - 2 * FEE, 10]


def test_a_spent_nonce_is_skipped() -> None:
    accounts = Dictionary({A: 100})
    first = raw(A, 0, (B, 1))
    executed = run(accounts, first, first, raw(A, 0, (C, 1)))
    assert outcomes(executed) == [Outcome.EXECUTED, Outcome.NONCE_SPENT, Outcome.NONCE_SPENT]
    assert C not in accounts.records


def test_operations_of_one_transaction_happen_all_or_not_at_all() -> None:
    accounts = Dictionary({A: 100})
    executed = run(
        accounts, raw(A, 0, (B, 40), (C, 50), fee=2 * FEE), raw(A, 1, (B, 10), (C, 20), fee=2 * FEE)
    )
    assert outcomes(executed) == [Outcome.OVERDRAWN, Outcome.EXECUTED]
    assert balances(accounts, A, B, C) == [30, 10, 20]


def test_each_operation_costs_the_least_fee() -> None:
    accounts = Dictionary({A: 100})
    executed = run(accounts, raw(A, 0, (B, 1), (C, 1), fee=2 * FEE - 1))
    assert outcomes(executed) == [Outcome.FEE_BELOW_MINIMUM]
    assert accounts.records[A][:2] == [100 - 2 * FEE + 1, 1]


def test_nothing_is_lost_to_an_address_of_an_unknown_kind() -> None:
    accounts = Dictionary({A: 100})
    executed = run(accounts, raw(A, 0, (ODD, 1)))
    assert outcomes(executed) == [Outcome.RECIPIENT_UNKNOWN_KIND]
    assert ODD not in accounts.records


def test_a_transfer_to_oneself_costs_the_fee_alone() -> None:
    accounts = Dictionary({A: 100})
    executed = run(accounts, raw(A, 0, (A, 90)))
    assert outcomes(executed) == [Outcome.EXECUTED]
    assert balances(accounts, A) == [90]


def test_garbage_and_invalid_signatures_are_skipped_by_all_alike() -> None:
    accounts = Dictionary({A: 100})
    executed = run(accounts, b"\xc1", raw(A, 0, (B, 1)), raw(A, 0, (B, 2)), invalid=(1,))
    assert outcomes(executed) == [Outcome.MALFORMED, Outcome.SIGNATURE_INVALID, Outcome.EXECUTED]
    assert balances(accounts, B) == [2]
    assert transactions_of(b"\x93garbage") == []
    assert transactions_of(msgspec.msgpack.encode([1, 2])) == []


def test_a_block_keeps_the_positions_before_of_both_parties() -> None:
    accounts = Dictionary({A: 100, B: 100})
    executed = run(accounts, raw(A, 0, (B, 1)), raw(B, 0, (A, 1)))
    assert list(executed.previous) == [0, 0, position_of(1, 0), position_of(1, 0)]
    assert list(executed.offsets) == []
    again = execute(
        accounts, executed.supply, RULES, 2, [b"", raw(A, 1, (B, 1), (C, 1), fee=20), raw(B, 1, (A, 1))]
    )
    assert list(again.offsets) == [0, 0, 3]
    assert list(again.previous) == [
        position_of(1, 1),
        position_of(1, 1),
        0,
        position_of(2, 1),
        position_of(2, 1),
    ]


def test_a_supply_that_does_not_add_up_stops_the_ledger() -> None:
    accounts = Dictionary({A: 100})
    with pytest.raises(AssertionError, match="height 1: 101 base units exist, 100 should"):
        execute(
            accounts, Supply(minted=100, burned=0, treasury=1, in_accounts=100), RULES, 1, [raw(A, 0, (B, 1))]
        )


# The rules told slowly

PEOPLE = (A, B, C, D, ODD)
operation = st.tuples(st.sampled_from(PEOPLE), st.integers(1, 60))
item = st.tuples(
    st.sampled_from((A, B, C)),
    st.integers(0, 4),
    st.lists(operation, min_size=1, max_size=3),
    st.sampled_from((0, FEE - 1, FEE, 2 * FEE, 3 * FEE, 90)),
)


def slowly(held: dict[bytes, list[int]], raws: list[bytes]) -> list[Outcome]:
    """Take the first transaction, in order of block, that can go next after the one that just went."""
    result: list[Outcome | None] = [None] * len(raws)
    waiting: list[int] = []

    def attempt(index: int) -> bool:
        """Return whether the nonce was spent by it."""
        tx = decode_transaction(raws[index])
        balance, nonce = held.get(tx.sender, [0, 0])
        if tx.nonce < nonce:
            result[index] = Outcome.NONCE_SPENT
            return False
        if tx.nonce > nonce:
            result[index] = Outcome.NONCE_AHEAD
            waiting.append(index)
            return False
        if tx.sender not in held or balance < tx.fee:
            result[index] = Outcome.FEE_NOT_COVERED
            return False
        held[tx.sender] = [balance - tx.fee, nonce + 1]
        if tx.fee < FEE * len(tx.operations):
            result[index] = Outcome.FEE_BELOW_MINIMUM
        elif any(operation.to[0] != 1 for operation in tx.operations):
            result[index] = Outcome.RECIPIENT_UNKNOWN_KIND
        elif sum(operation.amount for operation in tx.operations) + tx.fee > balance:
            result[index] = Outcome.OVERDRAWN
        else:
            result[index] = Outcome.EXECUTED
            for operation in tx.operations:
                held[tx.sender][0] -= operation.amount
                held.setdefault(operation.to, [0, 0])[0] += operation.amount
        return True

    for index in range(len(raws)):
        sender = decode_transaction(raws[index]).sender
        went = attempt(index)
        while went:
            went = False
            due = [i for i in waiting if decode_transaction(raws[i]).sender == sender]
            due = [i for i in due if decode_transaction(raws[i]).nonce == held[sender][1]]
            for i in due:
                waiting.remove(i)
                went = attempt(i) or went
    return [outcome for outcome in result if outcome is not None]


@settings(max_examples=300, deadline=None)
@given(st.lists(item, max_size=14), st.integers(0, 150), st.integers(0, 150))
def test_execution_is_the_rules_told_slowly(
    items: list[tuple[bytes, int, list[tuple[bytes, int]], int]], a: int, b: int
) -> None:
    raws = [raw(sender, nonce, *to, fee=fee) for sender, nonce, to, fee in items]
    accounts = Dictionary({A: a, B: b})
    held = {A: [a, 0], B: [b, 0]}
    executed = run(accounts, *raws)
    assert outcomes(executed) == slowly(held, raws)
    assert {address: record[:2] for address, record in accounts.records.items()} == held
    assert sum(balance for balance, _ in held.values()) + executed.supply.treasury == a + b
