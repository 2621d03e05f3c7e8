"""Block sync with peers that lie: about their height, about batches, in bytes that nobody can read."""

from hashlib import sha256

import msgspec
import pytest
import trio
import trio.testing

from consensus.blocks import Block, Tip
from consensus.certificates import Certificate
from consensus.dissemination.batches import EMPTY_LANE, BatchHeader, batch_digest
from consensus.signing import SignedKind, signed_prefix
from consensus.votes import VoteKind
from prsm_node.consensus_host.answers import SyncedBlock
from prsm_node.consensus_host.outbox import Refusal
from prsm_node.identity.addresses import address_of
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.ledger.transactions import Transfer, unsigned_bytes, with_signature
from prsm_node.mempool.bodies import VerifiedCache, check_body
from prsm_node.sync.blocks import DOUBT_S, BlockSync, fixed
from prsm_node.verification.verifier import InlineVerifier
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import Batch, Committed, Wanted
from tests.storage.made_chain import address, transfer

NETWORK = bytes(32)
AUTHOR = b"a" * 32
LIAR, HONEST = 1, 2
TOO_DEEP = b"\x91" * 100_000


def batch(sequence: int, parent: bytes, body: bytes) -> Batch:
    return Batch(BatchHeader(AUTHOR, sequence, parent, sha256(body).digest(), b"s" * 64), body)


FIRST = batch(1, EMPTY_LANE, b"\x91\xc4\x01a")
SECOND = batch(2, batch_digest(FIRST.header), b"\x91\xc4\x01b")


def block(height: int, *batches: Batch) -> Committed:
    tips = tuple(Tip(b.header.author, b.header.sequence, batch_digest(b.header)) for b in batches[-1:])
    made = Block(height, bytes(32), height, AUTHOR, tips, (), bytes(32), bytes(32))
    return Committed(made, Certificate(VoteKind.PRECOMMIT, height, 0, bytes(32), ()))


def answer(*batches: Batch, of: tuple[Batch, ...] | None = None) -> bytes:
    return msgspec.msgpack.encode((SyncedBlock(block(1, *(batches if of is None else of)), batches),))


class Peers:
    """An outbox whose peers answer as they were told, and what they were blamed for."""

    def __init__(self, **answers: bytes | None) -> None:
        self.answers = {LIAR: answers.get("liar"), HONEST: answers.get("honest")}
        self.faults: list[tuple[int, str]] = []
        self.asked: list[int] = []

    def links(self) -> list[int]:
        return [LIAR, HONEST]

    async def ask(self, link: int, wanted: Wanted, deadline_s: float) -> bytes | None:
        self.asked.append(link)
        await trio.lowlevel.checkpoint()
        return self.answers[link]

    async def request(self, link: int, wanted: Wanted, deadline_s: float) -> bytes | Refusal:
        answer = await self.ask(link, wanted, deadline_s)
        return Refusal.ABSENT if answer is None else answer

    def checked(self, link: int, signatures: int) -> None:
        """Nothing is charged here."""

    def fault(self, link: int, reason: str) -> None:
        self.faults.append((link, reason))

    def broadcast(self, kind: Kind, message: bytes) -> None: ...
    def send(self, link: int, kind: Kind, message: bytes) -> bool:
        return True

    def link_of(self, validator: bytes) -> int | None:
        return None

    def validator_of(self, link: int) -> bytes | None:
        return None


class Chain:
    """A node at genesis that executes at once what it takes."""

    def __init__(self, heights: dict[int, int]) -> None:
        self.said = heights
        self.height = 0
        self.kept: list[Batch] = []

    def next_height(self) -> int:
        return self.height + 1

    def executed_height(self) -> int:
        return self.height

    async def executed(self, height: int) -> None:
        if self.height < height:
            await trio.sleep_forever()

    def decided(self, link: int, committed: Committed) -> bool:
        return True

    def take(self, link: int, committed: Committed) -> bool:
        self.height = committed.block.height
        return True

    def store(self, batch: Batch) -> bool:
        self.kept.append(batch)
        return True

    def heights(self) -> dict[int, int]:
        return self.said

    def validates(self, link: int) -> bool:
        return False


async def synced(chain: Chain, peers: Peers, seconds: float = 3.0) -> BlockSync:
    async def check(link: int, batch: Batch) -> bool:
        return chain.store(batch)

    sync = BlockSync(chain, peers, check)
    with trio.move_on_after(seconds):
        await sync.run()
    return sync


async def test_a_height_that_nobody_can_show_is_doubted_and_its_teller_scored(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers(honest=answer())
    chain = Chain({LIAR: 2**62, HONEST: 1})
    sync = await synced(chain, peers)
    assert chain.height == 1
    assert not sync.syncing
    assert peers.faults == [(LIAR, "sync.unproven_height")]
    assert peers.asked.count(LIAR) == 1
    await trio.sleep(DOUBT_S)
    assert sync.syncing, "it may have been slow: it is asked again later"


@pytest.mark.parametrize(
    "lie",
    [
        answer(FIRST, Batch(SECOND.header, b"another body"), of=(FIRST, SECOND)),
        answer(FIRST, batch(7, EMPTY_LANE, b"ballast"), of=(FIRST,)),
        answer(FIRST, FIRST, of=(FIRST,)),
        answer(FIRST, of=()),
    ],
    ids=["another body", "ballast", "twice", "of no lane"],
)
async def test_batches_that_a_block_does_not_fix_are_not_kept(
    lie: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    peers, chain = Peers(liar=lie, honest=answer(FIRST, SECOND)), Chain({LIAR: 2, HONEST: 1})
    await synced(chain, peers, 2.0)
    assert (LIAR, "sync.batch") in peers.faults
    assert chain.kept == [FIRST, SECOND]
    assert chain.height == 1


@pytest.mark.parametrize("bytes_", [b"garbage", b"\xc0", TOO_DEEP, b"\x91\x93" + TOO_DEEP])
async def test_an_answer_that_cannot_be_read_is_a_fault_and_no_end(
    bytes_: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    peers, chain = Peers(liar=bytes_, honest=answer(FIRST)), Chain({LIAR: 2, HONEST: 1})
    await synced(chain, peers, 2.0)
    assert (LIAR, "sync.unreadable") in peers.faults
    assert chain.height == 1


def test_a_block_fixes_its_batches_down_the_lane_and_no_others() -> None:
    ordered = block(1, FIRST, SECOND).block
    assert fixed(ordered, (FIRST, SECOND))
    assert fixed(ordered, (SECOND,)), "the first may be of the block before"
    assert not fixed(ordered, (FIRST,)), "nothing leads to it"


async def test_a_decided_block_whose_batches_are_lacking_gets_them_from_who_executed_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    decided = block(1, FIRST, SECOND)
    peers = Peers(liar=answer(FIRST, of=(FIRST, SECOND)), honest=answer(FIRST, SECOND))
    chain = Chain({LIAR: 1, HONEST: 1})
    chain.next_height = lambda: 2  # type: ignore[method-assign]

    async def check(link: int, batch: Batch) -> bool:
        return chain.store(batch)

    sync = BlockSync(chain, peers, check)
    with trio.move_on_after(1.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sync.run)
            sync.lack(decided.block)
            await trio.sleep_forever()
    assert [batch.header for batch in chain.kept[-2:]] == [FIRST.header, SECOND.header]


async def test_batches_of_another_block_than_the_decided_one_are_not_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers(liar=answer(FIRST, SECOND), honest=None)
    chain = Chain({LIAR: 1})
    chain.next_height = lambda: 2  # type: ignore[method-assign]

    async def check(link: int, batch: Batch) -> bool:
        return chain.store(batch)

    sync = BlockSync(chain, peers, check)
    with trio.move_on_after(1.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sync.run)
            sync.lack(block(1, FIRST).block)
            await trio.sleep_forever()
    assert chain.kept == []
    assert (LIAR, "sync.batch") in peers.faults


class NoAccounts:
    fee_min = 1
    nonce_window = 10

    def account(self, address: bytes) -> None:
        return None


def three_blocks(first: Batch) -> bytes:
    """An answer whose first block lies below two certified ones."""
    items = (SyncedBlock(block(1, first), (first,)), SyncedBlock(block(2), ()), SyncedBlock(block(3), ()))
    return msgspec.msgpack.encode(items)


@pytest.mark.parametrize("verify_all", [False, True])
async def test_a_forged_signature_below_a_certified_header_is_refused_if_all_are_verified(
    verify_all: bool, autojump_clock: trio.testing.MockClock
) -> None:
    unsigned = transfer(address(1), 0, (address(2), 1))
    forged = batch(1, EMPTY_LANE, msgspec.msgpack.encode([unsigned]))
    peers, chain = Peers(liar=three_blocks(forged)), Chain({LIAR: 3})

    async def check(link: int, batch: Batch) -> bool:
        verdict = await check_body(batch.body, NoAccounts(), InlineVerifier(NETWORK), VerifiedCache())
        if not verdict.good:
            peers.fault(link, f"batch.body: {verdict.fault.name.lower()}")
        return verdict.good

    sync = BlockSync(chain, peers, check, verify_all=verify_all)
    with trio.move_on_after(2.0):
        await sync.run()
    if verify_all:
        assert (LIAR, "batch.body: wrong_signature") in peers.faults
        assert chain.height == 0
    else:
        assert chain.kept == [forged]
        assert chain.height == 3


async def test_a_well_signed_batch_below_a_certified_header_is_taken_if_all_are_verified(
    autojump_clock: trio.testing.MockClock,
) -> None:
    key = SigningKey.from_seed(bytes(32))
    content = unsigned_bytes(address_of(key.public), 0, 1_000, (Transfer(address(2), 1),), b"")
    signed = with_signature(content, key.sign(signed_prefix(NETWORK, SignedKind.TRANSACTION) + content))
    good = batch(1, EMPTY_LANE, msgspec.msgpack.encode([signed]))
    peers, chain = Peers(liar=three_blocks(good)), Chain({LIAR: 3})

    async def check(link: int, batch: Batch) -> bool:
        verdict = await check_body(batch.body, NoAccounts(), InlineVerifier(NETWORK), VerifiedCache())
        return verdict.good and chain.store(batch)

    sync = BlockSync(chain, peers, check, verify_all=True)
    with trio.move_on_after(2.0):
        await sync.run()
    assert chain.kept == [good]
    assert chain.height == 3
    assert not peers.faults
