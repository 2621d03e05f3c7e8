"""A body is acknowledged only if every transaction in it is worth ordering, and none is checked twice."""

from collections.abc import Sequence

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from prsm_node.ledger.transactions import Transfer, transaction_hash, unsigned_bytes, with_signature
from prsm_node.mempool.bodies import BODY_BYTES_MAX, SPENT_MAX, BodyFault, VerifiedCache, check_body

GOOD = b"g" * 64
SENDER = b"\x01" + bytes(32)


class Account:
    balance = 0
    nonce = 100


class Ledger:
    fee_min = 1
    nonce_window = 10

    def account(self, address: bytes) -> Account | None:
        return Account() if address == SENDER else None


class Checks:
    def __init__(self) -> None:
        self.asked = 0

    async def check(self, raws: Sequence[bytes]) -> bytes:
        await trio.lowlevel.checkpoint()
        self.asked += len(raws)
        return bytes(raw.endswith(GOOD) for raw in raws)


def raw(nonce: int, signature: bytes = GOOD) -> bytes:
    return with_signature(unsigned_bytes(SENDER, nonce, 1, (Transfer(SENDER, 1),)), signature)


def body(*raws: bytes) -> bytes:
    return msgspec.msgpack.encode(list(raws))


async def test_a_good_body_is_returned_decoded_and_checked_once() -> None:
    checks, verified = Checks(), VerifiedCache()
    raws = [raw(nonce) for nonce in range(100, 140)]
    for _ in range(2):
        verdict = await check_body(body(*raws), Ledger(), checks, verified)
        assert verdict.good
        assert verdict.hashes == [transaction_hash(one) for one in raws]
        assert [transaction.nonce for transaction in verdict.transactions] == list(range(100, 140))
    assert checks.asked == 40


@pytest.mark.parametrize(
    ("bytes_", "fault"),
    [
        (b"", BodyFault.MALFORMED),
        (body(), BodyFault.EMPTY),
        (b"\xdd\xff\xff\xff\xff", BodyFault.MALFORMED),
        (body(raw(100)) + b"\0", BodyFault.MALFORMED),
        (body(raw(100), b"junk"), BodyFault.MALFORMED),
        (msgspec.msgpack.encode(["text"]), BodyFault.MALFORMED),
        (body(raw(100), raw(101), raw(100)), BodyFault.REPEATED),
        (body(raw(100), raw(101, signature=bytes(64))), BodyFault.WRONG_SIGNATURE),
        (bytes(BODY_BYTES_MAX + 1), BodyFault.TOO_LARGE),
        (body(*[b""] * 5_000), BodyFault.TOO_LARGE),
        (body(*[raw(nonce) for nonce in range(SPENT_MAX + 1)]), BodyFault.SPENT),
    ],
)
async def test_a_bad_body_is_refused_by_name(bytes_: bytes, fault: BodyFault) -> None:
    verdict = await check_body(bytes_, Ledger(), Checks(), VerifiedCache())
    assert verdict.fault is fault
    assert not verdict.good


async def test_a_few_spent_nonces_are_an_accident() -> None:
    raws = [raw(nonce) for nonce in range(SPENT_MAX)] + [raw(100)]
    assert (await check_body(body(*raws), Ledger(), Checks(), VerifiedCache())).good


@given(st.binary(max_size=300))
def test_no_bytes_break_the_check(bytes_: bytes) -> None:
    assert not trio.run(check_body, bytes_, Ledger(), Checks(), VerifiedCache()).good


def test_the_cache_of_verified_hashes_is_bounded_and_keeps_the_latest() -> None:
    cache = VerifiedCache(items_max=100)
    for number in range(1_000):
        cache.add(number.to_bytes(32, "big"))
        assert len(cache) <= 200
    assert all(number.to_bytes(32, "big") in cache for number in range(900, 1_000))
    assert (0).to_bytes(32, "big") not in cache
