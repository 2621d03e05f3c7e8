"""Who gets in and who does not: each refusal has a name, and no refusal costs more than it must."""

from collections.abc import Sequence

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from prsm_node.ledger.transactions import (
    Transfer,
    decode_transaction,
    transaction_hash,
    unsigned_bytes,
    with_signature,
)
from prsm_node.mempool.admission import Limits, Reason
from prsm_node.mempool.intake import INTAKE_BYTES, Intake
from prsm_node.mempool.pool import Mempool

ME = b"m" * 32
GOOD, FORGED = b"g" * 64, b"f" * 64
FEE = 1_000


class Account:
    def __init__(self, balance: int, nonce: int = 0) -> None:
        self.balance = balance
        self.nonce = nonce


class Ledger:
    fee_min = FEE
    nonce_window = 64

    def __init__(self) -> None:
        self.accounts: dict[bytes, Account] = {}

    def account(self, address: bytes) -> Account | None:
        return self.accounts.get(address)


class Checks:
    """Takes the signature GOOD for good, and counts; `gate` holds answers back."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.gate = trio.Event()
        self.gate.set()

    async def check(self, raws: Sequence[bytes]) -> bytes:
        self.asked.extend(raws)
        await trio.lowlevel.checkpoint()
        await self.gate.wait()
        return bytes(raw.endswith(GOOD) for raw in raws)


def address(name: int) -> bytes:
    return b"\x01" + name.to_bytes(32, "big")


def raw(sender: int, nonce: int, amount: int = 1, fee: int = FEE, signature: bytes = GOOD) -> bytes:
    return with_signature(
        unsigned_bytes(address(sender), nonce, fee, (Transfer(address(9), amount),)), signature
    )


class Desk:
    """A mempool of a lone validator, with what it stands on."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.ledger = Ledger()
        self.checks = Checks()
        self.now_ms = 0
        self.pool = Mempool(
            ME,
            self.ledger,
            self.checks,
            lambda: [(ME, 1)],
            lambda _author, _raws: True,
            limits or Limits(),
            lambda: self.now_ms,
        )

    async def reasons(self, *raws: bytes, source: int = 0) -> list[Reason]:
        return [answer.reason for answer in await self.pool.submit(raws, source)]


async def test_every_refusal_has_its_name() -> None:
    desk = Desk()
    desk.ledger.accounts[address(1)] = Account(10 * FEE, nonce=5)
    first = raw(1, 5)
    assert await desk.reasons(first) == [Reason.ACCEPTED]
    cases = {
        Reason.MALFORMED: first[:-1],
        Reason.WRONG_SIGNATURE: raw(1, 6, signature=FORGED),
        Reason.NONCE_SPENT: raw(1, 4),
        Reason.NONCE_TOO_FAR: raw(1, 5 + 64),
        Reason.NONCE_TAKEN: raw(1, 5, amount=2),
        Reason.OVERDRAWN: raw(1, 6, amount=9 * FEE),
        Reason.FEE_TOO_LOW: raw(1, 6, fee=FEE - 1),
        Reason.DUPLICATE: first,
    }
    answers = await desk.pool.submit(list(cases.values()), 0)
    assert [answer.reason for answer in answers] == list(cases), "answers come in the order of the question"
    assert [answer.hash for answer in answers] == [transaction_hash(one) for one in cases.values()]
    assert not any(answer.accepted for answer in answers)
    counted = desk.pool.stats().admissions
    assert all(counted[reason.name.lower()] == 1 for reason in cases)


async def test_garbage_of_any_kind_is_malformed_and_nothing_more() -> None:
    desk = Desk()
    garbage = [b"", b"\x97", bytes(200), b"\xc1" * 5_000, raw(1, 0) + b"\0", bytes(20_000)]
    assert await desk.reasons(*garbage) == [Reason.MALFORMED] * len(garbage)
    assert desk.checks.asked == []


async def test_a_fee_counts_each_operation_and_an_unknown_sender_owns_nothing() -> None:
    desk = Desk()
    desk.ledger.accounts[address(1)] = Account(10**9)
    two = (Transfer(address(2), 1), Transfer(address(3), 1))
    assert await desk.reasons(with_signature(unsigned_bytes(address(1), 0, FEE, two), GOOD)) == [
        Reason.FEE_TOO_LOW
    ]
    assert await desk.reasons(with_signature(unsigned_bytes(address(1), 0, 2 * FEE, two), GOOD)) == [
        Reason.ACCEPTED
    ]
    assert await desk.reasons(raw(7, 0)) == [Reason.OVERDRAWN]


async def test_a_duplicate_is_checked_once_however_often_and_whenever_it_comes() -> None:
    desk = Desk()
    desk.ledger.accounts[address(1)] = Account(10**9)
    desk.checks.gate = trio.Event()
    one = raw(1, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.pool.submit, [one], 0)
        await trio.testing.wait_all_tasks_blocked()
        assert await desk.reasons(one, one, source=3) == [Reason.DUPLICATE] * 2, "while it is being checked"
        desk.checks.gate.set()
    assert await desk.reasons(one) == [Reason.DUPLICATE], "while it waits"
    assert len(desk.checks.asked) == 1


async def test_a_forgery_reserves_neither_nonce_nor_balance() -> None:
    desk = Desk()
    desk.ledger.accounts[address(1)] = Account(FEE + 1)
    desk.checks.gate = trio.Event()
    answers: list[Reason] = []
    async with trio.open_nursery() as nursery:

        async def ask(one: bytes) -> None:
            answers.extend(await desk.reasons(one))

        nursery.start_soon(ask, raw(1, 0, signature=FORGED))
        nursery.start_soon(ask, raw(1, 0))
        await trio.testing.wait_all_tasks_blocked()
        desk.checks.gate.set()
    assert sorted(answers) == [Reason.ACCEPTED, Reason.WRONG_SIGNATURE]


async def test_two_at_once_cannot_spend_one_balance() -> None:
    desk = Desk()
    desk.ledger.accounts[address(1)] = Account(FEE + 1)
    answers = await desk.reasons(raw(1, 0), raw(1, 1))
    assert answers == [Reason.ACCEPTED, Reason.OVERDRAWN]


async def test_what_its_sender_can_pay_no_more_makes_room() -> None:
    """Another node was given another transaction of the first nonce, which took all: what waits here would
    be refused by every lane, and hold its place for ever."""
    desk = Desk()
    account = desk.ledger.accounts[address(1)] = Account(100 * FEE)
    waiting = [raw(1, nonce) for nonce in range(20)]
    assert await desk.reasons(*waiting) == [Reason.ACCEPTED] * 20
    account.nonce, account.balance = 1, 3 * FEE
    desk.pool.executed(1, [(b"", address(1), 0)])
    assert desk.pool.stats().items == 2, "1 and 2 can be paid, with their amounts, and the rest not"
    assert desk.pool.stats().unpayable == 17
    check_books(desk)
    sealed = desk.pool.seal()
    assert sealed is not None
    assert msgspec.msgpack.decode(sealed.body) == waiting[1:3]
    account.nonce, account.balance = 3, 0
    desk.pool.executed(2, [(b"", address(1), 2)])
    check_books(desk)
    account.balance = 2 * FEE
    assert await desk.reasons(waiting[3]) == [Reason.ACCEPTED], "it is paid for again"
    sealed = desk.pool.seal()
    assert sealed is not None
    assert msgspec.msgpack.decode(sealed.body) == [waiting[3]]


async def test_what_was_sealed_and_can_be_paid_no_more_is_sealed_anew_when_it_comes_again() -> None:
    desk = Desk()
    account = desk.ledger.accounts[address(1)] = Account(100 * FEE)
    waiting = [raw(1, nonce) for nonce in range(3)]
    await desk.reasons(*waiting)
    assert desk.pool.seal() is not None
    account.nonce, account.balance = 1, 2 * FEE
    desk.pool.executed(1, [(b"", address(1), 0)])
    check_books(desk)
    assert desk.pool.stats().items == 1
    account.balance = 5 * FEE
    assert await desk.reasons(waiting[2]) == [Reason.ACCEPTED]
    sealed = desk.pool.seal()
    assert sealed is not None
    assert msgspec.msgpack.decode(sealed.body) == [waiting[2]]
    check_books(desk)


async def test_cancelling_a_submission_leaves_no_trace() -> None:
    desk = Desk()
    desk.ledger.accounts[address(1)] = Account(10**9)
    desk.checks.gate = trio.Event()
    with trio.move_on_after(0.01):
        await desk.pool.submit([raw(1, 0)], 0)
    assert desk.pool.stats().checking == 0
    desk.checks.gate.set()
    assert await desk.reasons(raw(1, 0)) == [Reason.ACCEPTED]


async def test_a_flooding_source_leaves_room_for_every_other() -> None:
    desk = Desk(Limits(items_max=1_000, sender_items_min=4, source_items_min=10))
    for sender in range(400):
        desk.ledger.accounts[address(sender)] = Account(10**12)
    flood = [raw(sender, nonce) for nonce in range(10) for sender in range(100, 300)]
    answers = await desk.reasons(*flood, source=1)
    assert answers.count(Reason.ACCEPTED) == 500, "alone, a source gets half"
    assert set(answers) == {Reason.ACCEPTED, Reason.SOURCE_SHARE}
    for source in range(2, 8):
        honest = [raw(sender, 0) for sender in range(source * 10, source * 10 + 10)]
        assert await desk.reasons(*honest, source=source) == [Reason.ACCEPTED] * 10
        assert await desk.reasons(*flood, source=1) != [], "the flood goes on"
    assert desk.pool.stats().items == 560


async def test_a_flooding_sender_keeps_to_a_share_of_what_is_free() -> None:
    desk = Desk(Limits(items_max=100, sender_items_min=4))
    desk.ledger.accounts[address(1)] = Account(10**12)
    desk.ledger.accounts[address(2)] = Account(10**12)
    answers = await desk.reasons(*[raw(1, nonce) for nonce in range(60)])
    assert Reason.SENDER_SHARE in answers
    assert answers.count(Reason.ACCEPTED) == 20, "a fifth: as much as a quarter of what is left"
    assert await desk.reasons(raw(2, 0)) == [Reason.ACCEPTED]


async def test_what_waits_for_a_predecessor_leaves_room_for_what_can_be_executed() -> None:
    """It pays nothing until that comes, and from link after link it filled the pool for ten minutes."""
    desk = Desk(Limits(items_max=400, sender_items_min=4, source_items_min=10))
    for sender in range(200):
        desk.ledger.accounts[address(sender)] = Account(10**12)
    for source in range(1, 40):
        flood = [raw(sender, nonce) for sender in range(source, 160, 40) for nonce in range(1, 30)]
        await desk.reasons(*flood, source=source)
    assert desk.pool.stats().items == 100
    honest = [raw(sender, nonce) for sender in range(180, 200) for nonce in range(5)]
    assert set(await desk.reasons(*honest, source=50)) == {Reason.ACCEPTED}
    asked = len(desk.checks.asked)
    assert await desk.reasons(raw(190, 6), source=50) == [Reason.FULL]
    assert len(desk.checks.asked) == asked, "before the signature, which nobody would be charged for"
    await desk.reasons(*[raw(1, 0)], source=50)
    assert await desk.reasons(raw(190, 6), source=50) == [Reason.ACCEPTED], "a predecessor came"


@pytest.mark.parametrize(
    "limits",
    [Limits(items_max=20), Limits(bytes_max=20 * len(raw(0, 0))), Limits(checking_max=20)],
    ids=["items", "bytes", "checking"],
)
async def test_a_full_pool_refuses_by_name_and_pushes_nothing_out(limits: Limits) -> None:
    desk = Desk(limits)
    for sender in range(40):
        desk.ledger.accounts[address(sender)] = Account(10**12)
    answers = await desk.reasons(*[raw(sender, 0) for sender in range(40)])
    assert answers == [Reason.ACCEPTED] * 20 + [Reason.FULL] * 20
    assert desk.pool.stats().items == 20


Step = tuple[str, int, int, int]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["submit", "execute", "seal", "tick"]),
            st.integers(0, 2),
            st.integers(0, 9),
            st.integers(1, 6 * FEE),
        ),
        max_size=60,
    )
)
def test_whatever_comes_reservations_are_the_sum_of_what_waits_and_nonces_leave_in_order(
    steps: list[Step],
) -> None:
    async def story() -> None:
        desk = Desk(Limits(items_max=25, sender_items_min=2))
        for sender in range(3):
            desk.ledger.accounts[address(sender)] = Account(20 * FEE)
        for kind, sender, nonce, amount in steps:
            account = desk.ledger.accounts[address(sender)]
            desk.now_ms += 700
            if kind == "submit":
                await desk.reasons(
                    raw(sender, account.nonce + nonce - 2 if account.nonce > 1 else nonce, amount)
                )
            elif kind == "execute":
                account.nonce += 1
                desk.pool.executed(1, [(bytes(32), address(sender), account.nonce - 1)])
            elif kind == "seal":
                sealed = desk.pool.seal()
                if sealed is not None:
                    check_order(desk, sealed.body)
            else:
                desk.pool.tick()
            check_books(desk)
        for sender in range(3):
            account = desk.ledger.accounts[address(sender)]
            account.nonce = 100
            desk.pool.executed(2, [(bytes(32), address(sender), 99)])
        stats = desk.pool.stats()
        assert (stats.items, stats.bytes, stats.senders, stats.ready_bytes) == (0, 0, 0, 0)

    trio.run(story)


def check_order(desk: Desk, body: bytes) -> None:
    last: dict[bytes, int] = {}
    for one in msgspec.msgpack.decode(body):
        transaction = decode_transaction(one)
        nonce = desk.ledger.accounts[transaction.sender].nonce
        assert transaction.nonce >= nonce, "nothing spent is sealed"
        before = last.get(transaction.sender)
        assert before is None or transaction.nonce == before + 1
        last[transaction.sender] = transaction.nonce


def check_books(desk: Desk) -> None:
    pending = desk.pool._pending
    entries = [entry for sender in pending.senders.values() for entry in sender.entries.values()]
    assert {entry.hash for entry in entries} == set(pending.by_hash)
    assert pending.bytes == sum(len(entry.raw) for entry in entries)
    assert sum(pending.by_source.values()) == len(entries)
    gapped = [entry for entry in entries if entry.nonce >= entry.sender.released]
    assert (pending.gapped, pending.gapped_bytes) == (len(gapped), sum(len(entry.raw) for entry in gapped))
    ready = 0
    for sender in pending.senders.values():
        account = desk.ledger.accounts[sender.address]
        assert sender.reserved == sum(entry.cost for entry in sender.entries.values())
        assert sender.reserved <= account.balance, "what waits can be paid"
        assert sender.base == account.nonce
        assert sender.base <= sender.next <= sender.released
        assert all(nonce >= sender.base for nonce in sender.entries)
        assert all(nonce in sender.entries for nonce in range(sender.base, sender.released)), (
            "no gap is released"
        )
        assert sender.released not in sender.entries, "all without a gap is released"
        ready += sum(len(sender.entries[nonce].raw) for nonce in range(sender.next, sender.released))
    assert desk.pool.stats().ready_bytes == ready


async def test_who_brings_what_is_not_judged_for_want_of_room_hears_so_and_the_next_may_bring_it() -> None:
    desk = Desk(Limits(items_max=8, sender_items_min=16, source_items_min=2))
    for sender in range(1, 5):
        desk.ledger.accounts[address(sender)] = Account(10**12)
    told: list[str] = []
    intake = Intake(desk.pool, lambda link, reason: told.append(reason), lambda link, signatures: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(intake.run)

        async def bring(link: int, *raws: bytes) -> list[str]:
            told.clear()
            intake.take(link, raws, lambda: told.append("admitted"), lambda: told.append("no room"))
            await trio.testing.wait_all_tasks_blocked()
            return list(told)

        assert await bring(1, *(raw(1, nonce) for nonce in range(4))) == ["admitted"]
        assert await bring(1, raw(2, 0)) == ["no room"], "the share of this link is used up"
        assert await bring(2, raw(2, 0)) == ["admitted"]
        assert await bring(2, raw(2, 0)) == [], "known already"
        assert await bring(2, raw(3, 0, signature=FORGED)) == ["transaction.wrong_signature"]
        assert await bring(2, bytes(INTAKE_BYTES + 1)) == ["no room"]
        nursery.cancel_scope.cancel()


async def test_a_forged_transaction_goes_on_in_no_message_whatever_the_books_say_of_it() -> None:
    """Who is handed it by us has other books, finds it forged, and would have us banned for it."""
    desk = Desk(Limits(items_max=100))
    desk.ledger.accounts[address(1)] = Account(10**12, nonce=1)
    told: list[str] = []
    checked: list[int] = []
    intake = Intake(desk.pool, lambda link, why: told.append(why), lambda link, count: checked.append(count))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(intake.run)

        async def bring(*raws: bytes) -> list[str]:
            told.clear()
            intake.take(1, raws, lambda: told.append("admitted"))
            await trio.testing.wait_all_tasks_blocked()
            return list(told)

        held = [raw(1, nonce, amount=2) for nonce in range(10, 14)]
        assert await bring(*held) == ["admitted"], "with a gap before them, so that they stay here alone"
        refused = {
            "taken": raw(1, 10, signature=FORGED),
            "spent": raw(1, 0, signature=FORGED),
            "too far": raw(1, 1_000, signature=FORGED),
            "overdrawn": raw(2, 0, signature=FORGED),
            "cheap": raw(1, 40, fee=1, signature=FORGED),
        }
        for nonce, (name, forged) in enumerate(refused.items(), start=20):
            assert await bring(raw(1, nonce), forged) == ["transaction.wrong_signature"], name
        assert await bring(raw(1, 30), held[0], raw(1, 0)) == ["admitted"], "known or late is no fault"
        assert checked[-2:] == [1, 1], "of what was refused only what was not checked before is"
        nursery.cancel_scope.cancel()
