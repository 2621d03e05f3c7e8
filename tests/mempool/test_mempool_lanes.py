"""Each sender has a lane; what its author does not carry goes on to the next one, nonces in order."""

from collections.abc import Sequence

import msgspec
import trio
from msgspec.structs import replace

from consensus.dissemination.rendezvous import ranking
from prsm_node.ledger.transactions import Transfer, transaction_hash, unsigned_bytes, with_signature
from prsm_node.mempool.admission import Limits
from prsm_node.mempool.hand_over import (
    CHOSEN_BURST,
    SENT_AGAIN_EVERY_MS,
    UNORDERED_BLOCKS,
    UNORDERED_WAITS,
)
from prsm_node.mempool.pool import Mempool

KEYS = [bytes([number]) * 32 for number in range(1, 5)]
ME = KEYS[0]
LIMITS = Limits(hand_over_ms=1_000, expire_ms=10_000)


class Rich:
    balance = 10**15

    def __init__(self) -> None:
        self.nonce = 0


class Ledger:
    fee_min = 1
    nonce_window = 1_000

    def __init__(self) -> None:
        self.accounts: dict[bytes, Rich] = {}

    def account(self, address: bytes) -> Rich:
        return self.accounts.setdefault(address, Rich())


class Trusting:
    async def check(self, raws: Sequence[bytes]) -> bytes:
        await trio.lowlevel.checkpoint()
        return b"\1" * len(raws)


def sender_of(lane: bytes, skip: int = 0) -> bytes:
    """An address whose transactions belong to this lane."""
    found = (b"\x01" + number.to_bytes(32, "big") for number in range(10_000))
    mine = [address for address in found if ranking(address, [(key, 1) for key in KEYS])[0] == lane]
    return mine[skip]


def raw(sender: bytes, nonce: int) -> bytes:
    return with_signature(unsigned_bytes(sender, nonce, 1, (Transfer(sender, 1),)), bytes(64))


class Node:
    def __init__(self, me: bytes | None = ME, hand_over_ms: int = LIMITS.hand_over_ms) -> None:
        self.ledger = Ledger()
        self.now_ms = 0
        self.powers = [(key, 1) for key in KEYS]
        self.forwarded: list[tuple[bytes, list[bytes]]] = []
        self.reachable = True
        self.unlinked: set[bytes] = set()
        self.pool = Mempool(
            me,
            self.ledger,
            Trusting(),
            lambda: self.powers,
            self.forward,
            replace(LIMITS, hand_over_ms=hand_over_ms),
            lambda: self.now_ms,
            lambda author: author not in self.unlinked,
        )

    def forward(self, author: bytes, raws: list[bytes]) -> bool:
        if self.reachable:
            self.forwarded.append((author, raws))
        return self.reachable

    def pass_time(self, ms: int) -> None:
        self.now_ms += ms
        self.pool.tick()
        self.pool.flush_forwards()

    def sealed(self) -> list[bytes]:
        sealed = self.pool.seal()
        return [] if sealed is None else msgspec.msgpack.decode(sealed.body, type=list[bytes])


async def test_my_lane_is_sealed_and_others_are_forwarded_together() -> None:
    node = Node()
    mine, theirs = sender_of(ME), sender_of(KEYS[2])
    await node.pool.submit([raw(mine, 0), raw(theirs, 0), raw(theirs, 1), raw(mine, 1)], 0)
    node.pool.flush_forwards()
    assert node.forwarded == [(KEYS[2], [raw(theirs, 0), raw(theirs, 1)])]
    assert node.sealed() == [raw(mine, 0), raw(mine, 1)]
    assert node.pool.seal() is None
    assert node.pool.stats().items == 4, "all are kept until they are executed"


async def test_who_is_no_validator_forwards_everything() -> None:
    node = Node(me=None)
    await node.pool.submit([raw(sender_of(key), 0) for key in KEYS], 0)
    node.pool.flush_forwards()
    assert sorted(author for author, _ in node.forwarded) == KEYS
    assert node.pool.seal() is None


async def test_a_nonce_waits_for_its_predecessors() -> None:
    node = Node()
    mine = sender_of(ME)
    await node.pool.submit([raw(mine, 2), raw(mine, 1)], 0)
    assert node.pool.batch_due(0, 0) is None
    await node.pool.submit([raw(mine, 0)], 0)
    assert node.pool.batch_due(0, 0) == 0
    assert node.sealed() == [raw(mine, 0), raw(mine, 1), raw(mine, 2)]


async def test_senders_take_turns_in_a_batch() -> None:
    node = Node()
    busy, quiet = sender_of(ME, 0), sender_of(ME, 1)
    await node.pool.submit([raw(busy, nonce) for nonce in range(200)], 0)
    await node.pool.submit([raw(quiet, 0)], 0)
    sealed = node.pool.seal(bytes_max=1_000)
    assert sealed is not None
    assert len(sealed.body) <= 1_000
    assert raw(quiet, 0) in msgspec.msgpack.decode(sealed.body)[:2]


async def test_what_no_batch_carries_goes_to_the_next_lane_with_all_later_nonces() -> None:
    node = Node()
    theirs = sender_of(KEYS[1])
    second = ranking(theirs, node.powers)[1]
    await node.pool.submit([raw(theirs, 0), raw(theirs, 1)], 0)
    node.pool.flush_forwards()
    node.pass_time(500)
    node.ledger.account(theirs).nonce = 1
    node.pool.executed(1, [(transaction_hash(raw(theirs, 0)), theirs, 0)])
    node.pass_time(500)
    assert node.pool.stats().handed_over == 0, "its lane moves"
    await node.pool.submit([raw(theirs, 2)], 0)
    node.pool.flush_forwards()
    node.forwarded.clear()
    node.pass_time(1_000)
    assert node.pool.stats().handed_over == 1
    carried = (
        [raws for author, raws in node.forwarded if author == second] if second != ME else [node.sealed()]
    )
    assert carried == [[raw(theirs, 1), raw(theirs, 2)]]


def carried_by(node: Node, lane: bytes) -> list[bytes]:
    """Return what the node forwarded to a lane, or put into a batch of its own."""
    if lane == ME:
        return node.sealed()
    return [raw for author, raws in node.forwarded if author == lane for raw in raws]


async def test_the_lane_of_an_author_without_a_link_is_passed_over() -> None:
    node = Node()
    theirs = sender_of(KEYS[1])
    second = ranking(theirs, node.powers)[1]
    node.unlinked = {KEYS[1]}
    await node.pool.submit([raw(theirs, 0)], 0)
    node.pool.flush_forwards()
    assert carried_by(node, second) == [raw(theirs, 0)]


async def test_what_waits_for_an_author_that_went_is_handed_over_soon() -> None:
    node = Node()
    theirs = sender_of(KEYS[1])
    second = ranking(theirs, node.powers)[1]
    await node.pool.submit([raw(theirs, 0)], 0)
    node.pool.flush_forwards()
    node.unlinked = {KEYS[1]}
    node.pass_time(250)
    assert node.pool.stats().handed_over == 0, "its link may be made anew just now"
    node.pass_time(250)
    assert node.pool.stats().handed_over == 1
    assert carried_by(node, second) == [raw(theirs, 0)]


async def test_an_author_that_is_linked_again_is_sent_what_waits_for_it() -> None:
    node = Node()
    theirs = sender_of(KEYS[1])
    await node.pool.submit([raw(theirs, 0), raw(theirs, 1)], 0)
    node.pool.flush_forwards()
    node.pool.author_linked(KEYS[2])
    node.pool.flush_forwards()
    assert node.forwarded == [(KEYS[1], [raw(theirs, 0), raw(theirs, 1)])], "another's link changes nothing"
    node.pool.author_linked(KEYS[1])
    node.pool.flush_forwards()
    assert node.forwarded == [(KEYS[1], [raw(theirs, 0), raw(theirs, 1)])] * 2
    assert node.pool.stats().handed_over == 0


async def test_an_author_that_comes_and_goes_is_sent_what_waits_once_a_second() -> None:
    node = Node(hand_over_ms=10_000)
    theirs = sender_of(KEYS[1])
    await node.pool.submit([raw(theirs, 0)], 0)
    node.pool.flush_forwards()
    node.forwarded.clear()
    for _ in range(100):
        node.pool.author_linked(KEYS[1])
        node.pool.flush_forwards()
    assert len(node.forwarded) == 1
    node.pass_time(SENT_AGAIN_EVERY_MS - 1)
    assert len(node.forwarded) == 1
    node.pass_time(1)
    assert carried_by(node, KEYS[1]) == [raw(theirs, 0)] * 2, (
        "its last link gets what the one before may have lost"
    )


async def test_an_author_that_comes_and_goes_and_carries_nothing_is_given_up_as_a_silent_one_is() -> None:
    node = Node()
    theirs = sender_of(KEYS[1])
    await node.pool.submit([raw(theirs, 0)], 0)
    for _ in range(4):
        node.pool.author_linked(KEYS[1])
        node.pass_time(250)
    assert node.pool.stats().handed_over == 1


async def test_it_is_sent_that_too_whose_predecessor_a_certified_batch_holds() -> None:
    node = Node()
    theirs = sender_of(KEYS[1])
    await node.pool.submit([raw(theirs, 0), raw(theirs, 1)], 0)
    node.pool.flush_forwards()
    node.pool.certified([transaction_hash(raw(theirs, 0))])
    node.forwarded.clear()
    node.pool.author_linked(KEYS[1])
    node.pool.flush_forwards()
    assert raw(theirs, 1) in carried_by(node, KEYS[1]), "the link that went may have held it"


async def test_what_a_validator_hands_over_is_carried_here_whatever_lane_it_would_have() -> None:
    node = Node()
    theirs = sender_of(KEYS[1])
    await node.pool.submit([raw(theirs, 0)], 7, by=KEYS[1])
    node.pool.flush_forwards()
    assert node.sealed() == [raw(theirs, 0)]
    assert not node.forwarded, "or two that differ would send it to and fro"


async def test_what_was_sent_on_and_comes_back_is_carried_here() -> None:
    node = Node()
    theirs = sender_of(KEYS[1])
    await node.pool.submit([raw(theirs, 0), raw(theirs, 1)], 0)
    node.pool.flush_forwards()
    assert [author for author, _ in node.forwarded] == [KEYS[1]]
    (answer,) = await node.pool.submit([raw(theirs, 0)], 7, by=KEYS[2])
    assert not answer.accepted
    assert node.sealed() == [raw(theirs, 0), raw(theirs, 1)]


async def test_who_is_no_validator_chooses_no_lane() -> None:
    node = Node()
    theirs = sender_of(KEYS[1])
    await node.pool.submit([raw(theirs, 0)], 7, by=bytes(32))
    await node.pool.submit([raw(theirs, 1)], 8)
    node.pool.flush_forwards()
    assert not node.sealed()
    assert node.forwarded == [(KEYS[1], [raw(theirs, 0), raw(theirs, 1)])]


async def test_a_faulty_validator_has_not_all_that_other_lanes_hold_ordered_here_again() -> None:
    node = Node()
    found = (b"\x01" + number.to_bytes(32, "big") for number in range(20_000))
    ranked = ((address, ranking(address, [(key, 1) for key in KEYS])[0]) for address in found)
    others = [address for address, first in ranked if first == KEYS[1]]
    raws = [raw(address, 0) for address in others[: 2 * CHOSEN_BURST]]
    assert len(raws) == 2 * CHOSEN_BURST
    await node.pool.submit(raws, 7, by=KEYS[2])
    sealed: list[bytes] = []
    while more := node.sealed():
        sealed += more
    assert len(sealed) == CHOSEN_BURST
    await node.pool.submit([raw(others[-1], 0)], 8, by=KEYS[3])
    assert node.sealed() == [raw(others[-1], 0)], "another one's share is its own"


async def test_what_my_batches_hold_is_not_sealed_again_when_it_comes_back_to_my_lane() -> None:
    node = Node()
    mine = sender_of(ME)
    await node.pool.submit([raw(mine, 0)], 0)
    assert node.sealed() == [raw(mine, 0)]
    node.pass_time(1_000)
    assert [raws for _, raws in node.forwarded] == [[raw(mine, 0)]]
    await node.pool.submit([raw(mine, 1)], 7, by=KEYS[2])
    assert node.sealed() == [raw(mine, 1)], "a batch stays until it is ordered"


async def test_a_lane_is_given_up_as_soon_as_it_was_silent_for_long_enough() -> None:
    node = Node()
    theirs = sender_of(KEYS[1])
    await node.pool.submit([raw(theirs, 0)], 0)
    node.pass_time(900)
    node.ledger.account(theirs).nonce = 1
    await node.pool.submit([raw(theirs, 1)], 0)
    node.pool.executed(1, [(transaction_hash(raw(theirs, 0)), theirs, 0)])
    node.pass_time(900)
    assert node.pool.stats().handed_over == 0
    node.pass_time(100)
    assert node.pool.stats().handed_over == 1, "a second after its lane moved last"


async def test_what_a_faulty_author_had_ordered_too_early_goes_on_to_a_lane_that_carries_it() -> None:
    node = Node()
    theirs = sender_of(KEYS[1])
    later = raw(theirs, 1)
    await node.pool.submit([raw(theirs, 0), later], 0)
    node.pool.flush_forwards()
    node.pool.certified([transaction_hash(later)])
    node.pool.ahead([transaction_hash(later)])
    node.ledger.account(theirs).nonce = 1
    node.pool.executed(1, [(b"", theirs, 0)])
    node.forwarded.clear()
    node.pass_time(1_000)
    assert node.pool.stats().handed_over == 1, "its block is past, and no batch holds it"


async def test_what_was_ordered_too_early_out_of_my_own_batch_is_sealed_again() -> None:
    node = Node()
    node.powers = [(ME, 1)]
    mine = sender_of(ME)
    node.pool.tick()
    await node.pool.submit([raw(mine, 0), raw(mine, 1)], 0)
    assert node.sealed() == [raw(mine, 0), raw(mine, 1)]
    node.pool.ahead([transaction_hash(raw(mine, 1))])
    node.ledger.account(mine).nonce = 1
    node.pool.executed(1, [(b"", mine, 0)])
    node.pass_time(1_000)
    assert node.sealed() == [raw(mine, 1)]


async def test_without_a_quorum_in_reach_nothing_is_handed_over() -> None:
    node = Node()
    await node.pool.submit([raw(sender_of(KEYS[1]), 0)], 0)
    node.unlinked = {key for key in KEYS if key != ME}
    node.pass_time(250)
    node.pass_time(250)
    assert node.pool.stats().handed_over == 0


async def test_what_a_certified_batch_holds_is_not_handed_over() -> None:
    node = Node()
    theirs = sender_of(KEYS[1])
    await node.pool.submit([raw(theirs, 0)], 0)
    node.pool.certified([transaction_hash(raw(theirs, 0)), bytes(32)])
    for _ in range(5):
        node.pass_time(1_000)
    assert node.pool.stats().handed_over == 0


async def test_what_blocks_pass_by_is_handed_over_though_a_certified_batch_holds_it() -> None:
    """An author may show its certificate to those alone who follow: no proposer lists that batch."""
    node = Node(me=None)
    theirs = sender_of(KEYS[1])
    await node.pool.submit([raw(theirs, 0)], 0)
    node.pass_time(0)
    node.pool.certified([transaction_hash(raw(theirs, 0))])
    for _ in range(3 * UNORDERED_WAITS):
        node.pass_time(1_000)
    assert len(node.forwarded) == 1, "without blocks no lane is better"
    for height in range(1, UNORDERED_BLOCKS + 1):
        node.pool.executed(height, ())
    node.pass_time(1_000)
    assert node.forwarded[1:] == [(ranking(theirs, node.powers)[1], [raw(theirs, 0)])]


async def test_my_own_lane_is_left_too_when_nobody_certifies_it() -> None:
    node = Node()
    mine = sender_of(ME)
    await node.pool.submit([raw(mine, 0)], 0)
    assert node.sealed() == [raw(mine, 0)]
    node.pass_time(1_000)
    assert node.forwarded == [(ranking(mine, node.powers)[1], [raw(mine, 0)])]


async def test_going_round_all_lanes_without_a_way_collects_nothing_twice() -> None:
    node = Node(me=None)
    node.reachable = False
    theirs = sender_of(KEYS[1])
    await node.pool.submit([raw(theirs, 0), raw(theirs, 1)], 0)
    for _ in range(40):
        node.pass_time(1_000)
    node.reachable = True
    node.pass_time(0)
    assert [raws for _, raws in node.forwarded] == [[raw(theirs, 0), raw(theirs, 1)]]


async def test_a_new_set_moves_the_senders_of_who_left() -> None:
    node = Node()
    theirs = sender_of(KEYS[3])
    await node.pool.submit([raw(theirs, 0)], 0)
    node.pool.flush_forwards()
    node.forwarded.clear()
    node.powers = [(key, 1) for key in KEYS[:3]]
    node.pass_time(250)
    expected = ranking(theirs, node.powers)[0]
    got = [author for author, _ in node.forwarded] if expected != ME else [ME] * len(node.sealed())
    assert got == [expected]


async def test_what_a_leavers_certified_batch_held_is_handed_over_like_anything_else() -> None:
    node = Node()
    theirs = sender_of(KEYS[3])
    await node.pool.submit([raw(theirs, 0)], 0)
    node.pool.certified([transaction_hash(raw(theirs, 0))])
    node.powers = [(key, 1) for key in KEYS[:3]]
    for _ in range(5):
        node.pass_time(1_000)
    assert node.pool.stats().handed_over > 0


async def test_who_waits_too_long_for_a_predecessor_is_dropped() -> None:
    node = Node()
    await node.pool.submit([raw(sender_of(ME), 5)], 0)
    for _ in range(12):
        node.pass_time(1_000)
    assert node.pool.stats().items == 0
    assert node.pool.stats().expired == 1


async def test_what_another_lane_executed_is_not_sealed() -> None:
    node = Node()
    mine = sender_of(ME)
    await node.pool.submit([raw(mine, 0), raw(mine, 1)], 0)
    node.ledger.account(mine).nonce = 1
    node.pool.executed(1, [(transaction_hash(raw(mine, 0)), mine, 0)])
    assert node.sealed() == [raw(mine, 1)]


async def test_the_owner_task_forwards_by_itself_and_the_host_hears_of_work(autojump_clock: object) -> None:
    node = Node()
    rung: list[int] = []
    node.pool.on_ready = lambda: rung.append(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.pool.run)
        await node.pool.submit([raw(sender_of(KEYS[1]), 0)], 0)
        assert rung == []
        await trio.sleep(0.001)
        assert len(node.forwarded) == 1, "the first one leaves at once"
        await node.pool.submit([raw(sender_of(ME), 0)], 0)
        assert rung == [1]
        nursery.cancel_scope.cancel()
