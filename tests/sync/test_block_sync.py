"""Block sync among peers that lie, stall and lag: what is executed is the chain, in bounded time, and who
harmed is named."""

from collections.abc import Callable

import msgspec
import pytest
import trio
import trio.testing
from msgspec.structs import replace

from consensus.dissemination.batches import EMPTY_LANE
from prsm_node.consensus_host.answers import Pruned, SyncedBlock
from prsm_node.consensus_host.outbox import Refusal
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.network.scores import COST, COST_OTHER
from prsm_node.sync.blocks import BlockSync
from prsm_node.sync.claims import DOUBT_S
from prsm_node.sync.lookahead import AHEAD_BLOCKS_MAX, fixed
from prsm_node.wire.payloads import BlocksWanted, Committed, HeadersWanted, Wanted
from tests.sync.chains import FIRST_SET, KEYS, Follower, MadeChain, certified, sealed, serves
from tests.sync.peers import Behaviour, Peers, gives, stalls

BLOCKS = 200
CHAIN = MadeChain(BLOCKS)
RIVAL = MadeChain(BLOCKS, salt=7)
"""Certified by the same validators: what former ones could sign."""
HONEST = 9
TOO_DEEP = b"\x91" * 100_000


async def synced(
    chain: Follower, peers: Peers, until: int, within_s: float = 30.0, verify_all: bool = False
) -> BlockSync:
    """Run until this height is executed; it fails where that takes too long."""
    sync = BlockSync(chain, peers, verify_all=verify_all)
    with trio.fail_after(within_s):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chain.run)
            nursery.start_soon(sync.run)
            await chain.executed(until)
            nursery.cancel_scope.cancel()
    return sync


async def ran(chain: Follower, peers: Peers, seconds: float) -> BlockSync:
    """Run for so long."""
    sync = BlockSync(chain, peers)
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chain.run)
            await sync.run()
    return sync


def follows(chain: Follower, truth: MadeChain) -> None:
    """Assert that all of the truth was taken in order, and each batch of it kept."""
    assert [taken.block for taken in chain.taken] == [item.committed.block for item in truth.items]
    assert [b.header for b in chain.kept] == [b.header for item in truth.items for b in item.batches]


# --- what peers may do wrong ----------------------------------------------------------------------


def another_block(item: SyncedBlock) -> SyncedBlock:
    block = replace(item.committed.block, state_root=b"\xff" * 32)
    return SyncedBlock(Committed(block, item.committed.certificate), item.batches)


def forged_certificate(item: SyncedBlock) -> SyncedBlock:
    certificate = item.committed.certificate
    votes = (replace(certificate.votes[0], signature=bytes(64)), *certificate.votes[1:])
    return replace(item, committed=replace(item.committed, certificate=replace(certificate, votes=votes)))


def too_few_votes(item: SyncedBlock) -> SyncedBlock:
    certificate = item.committed.certificate
    return replace(
        item, committed=replace(item.committed, certificate=replace(certificate, votes=certificate.votes[:2]))
    )


def of_strangers(item: SyncedBlock) -> SyncedBlock:
    """Well signed, but not by validators: it fits together and fails at the signatures alone."""
    certificate = certified(item.committed.block, KEYS[4:7])
    return replace(item, committed=replace(item.committed, certificate=certificate))


def another_body(item: SyncedBlock) -> SyncedBlock:
    return replace(item, batches=tuple(replace(batch, body=b"\x91\xc4\x01x") for batch in item.batches))


def without_batches(item: SyncedBlock) -> SyncedBlock:
    return replace(item, batches=())


def unsigned_batches(item: SyncedBlock) -> SyncedBlock:
    return replace(
        item, batches=tuple(replace(b, header=replace(b.header, signature=bytes(64))) for b in item.batches)
    )


def ballast(item: SyncedBlock) -> SyncedBlock:
    return replace(item, batches=(*item.batches, sealed(FIRST_SET[1], 7, EMPTY_LANE, b"\x90")))


LIES: dict[str, tuple[Callable[[SyncedBlock], SyncedBlock], str]] = {
    "another block": (another_block, "sync.certificate"),
    "forged certificate": (forged_certificate, "sync.certificate"),
    "too few votes": (too_few_votes, "sync.certificate"),
    "strangers' certificate": (of_strangers, "sync.certificate"),
    "another body": (another_body, "sync.batch"),
    "without batches": (without_batches, "sync.batch"),
    "batches unsigned": (unsigned_batches, "sync.batch"),
    "ballast": (ballast, "sync.batch"),
}


@pytest.mark.parametrize(("lie", "reason"), LIES.values(), ids=LIES)
async def test_among_four_liars_one_honest_peer_is_enough_and_each_liar_is_soon_banned(
    lie: Callable[[SyncedBlock], SyncedBlock], reason: str, autojump_clock: trio.testing.MockClock
) -> None:
    liars = {link: serves(CHAIN, lie=lie) for link in (1, 2, 3, 4)}
    peers = Peers(liars | {HONEST: serves(CHAIN, after_s=0.05)})
    chain = Follower(CHAIN, dict.fromkeys(peers.behaviours, BLOCKS))
    await synced(chain, peers, BLOCKS, within_s=10.0)
    follows(chain, CHAIN)
    assert peers.blamed().keys() <= {1, 2, 3, 4}
    assert {told for _, told in peers.faults} == {reason}
    assert 2 * COST.get(reason, COST_OTHER) >= 100.0, "the second time it is banned"


async def test_a_liar_costs_its_own_range_and_not_what_others_brought(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def lies_once(item: SyncedBlock) -> SyncedBlock:
        return of_strangers(item) if item.committed.block.height == 70 else item

    peers = Peers({1: serves(CHAIN, lie=lies_once), 2: serves(CHAIN), 3: serves(CHAIN)})
    chain = Follower(CHAIN, dict.fromkeys(peers.behaviours, BLOCKS))
    await synced(chain, peers, BLOCKS)
    follows(chain, CHAIN)
    assert peers.faults in ([], [(1, "sync.certificate")])
    asked = sum(wanted.count for _, wanted in peers.asked if isinstance(wanted, BlocksWanted))
    assert asked <= BLOCKS + 2 * 64


@pytest.mark.parametrize(
    "bad",
    [stalls, gives(Refusal.ABSENT), gives(Refusal.GONE), gives(Refusal.BUSY), serves(CHAIN, after_s=20.0)],
    ids=["stalled", "absent", "gone", "busy", "slow"],
)
async def test_peers_that_give_nothing_or_too_late_hold_up_nobody(
    bad: Behaviour, autojump_clock: trio.testing.MockClock
) -> None:
    peers = Peers(dict.fromkeys((1, 2, 3), bad) | {HONEST: serves(CHAIN)})
    chain = Follower(CHAIN, dict.fromkeys(peers.behaviours, BLOCKS))
    await synced(chain, peers, BLOCKS, within_s=15.0)
    follows(chain, CHAIN)
    assert {told for _, told in peers.faults} <= {"late_answer", "sync.unproven_height"}
    assert HONEST not in peers.blamed()


async def test_a_pause_of_all_peers_at_once_costs_little_more_than_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    over_at = trio.current_time() + 10.0

    async def paused(wanted: Wanted) -> bytes | Refusal:
        if trio.current_time() < over_at:
            await trio.sleep_until(over_at)
        return await serves(CHAIN)(wanted)

    peers = Peers({1: paused, 2: paused})
    chain = Follower(CHAIN, {1: BLOCKS, 2: BLOCKS})
    await synced(chain, peers, BLOCKS, within_s=15.0)
    assert {told for _, told in peers.faults} == {"late_answer"}


async def test_a_lone_peer_that_is_over_budget_at_first_is_waited_for_and_not_blamed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    free_at = trio.current_time() + 5.0
    peers = Peers({1: serves(CHAIN, busy=lambda: trio.current_time() < free_at)})
    chain = Follower(CHAIN, {1: BLOCKS})
    sync = await synced(chain, peers, BLOCKS)
    assert not peers.faults
    assert len(peers.asked) < 40
    assert sync.target == BLOCKS, "its word still counts"


@pytest.mark.parametrize("beyond", [-1, 0, 1])
async def test_who_says_at_every_question_that_it_pruned_the_block_holds_up_nobody(
    beyond: int, autojump_clock: trio.testing.MockClock
) -> None:
    async def pruned(wanted: Wanted) -> bytes | Refusal:
        assert isinstance(wanted, BlocksWanted)
        await trio.sleep(0.001)
        return msgspec.msgpack.encode(Pruned(wanted.from_height + beyond))

    peers = Peers({1: pruned, HONEST: serves(CHAIN)})
    chain = Follower(CHAIN, dict.fromkeys(peers.behaviours, BLOCKS))
    await synced(chain, peers, BLOCKS)
    follows(chain, CHAIN)
    asked = sum(link == 1 for link, _ in peers.asked)
    assert asked <= 10, "it is the quickest, and would be asked for ever"
    assert HONEST not in peers.blamed()


async def test_who_is_quick_with_a_block_at_a_time_is_not_asked_for_all(
    autojump_clock: trio.testing.MockClock,
) -> None:
    serving = serves(CHAIN, after_s=0.001)

    async def one(wanted: Wanted) -> bytes | Refusal:
        assert isinstance(wanted, BlocksWanted)
        return await serving(replace(wanted, count=1))

    peers = Peers({1: one, HONEST: serves(CHAIN, after_s=0.05)})
    chain = Follower(CHAIN, dict.fromkeys(peers.behaviours, BLOCKS))
    await synced(chain, peers, BLOCKS)
    follows(chain, CHAIN)
    assert sum(link == 1 for link, _ in peers.asked) <= BLOCKS // 8


async def test_several_honest_peers_share_the_work(autojump_clock: trio.testing.MockClock) -> None:
    peers = Peers({link: serves(CHAIN, after_s=0.05) for link in (1, 2, 3, 4)})
    chain = Follower(CHAIN, dict.fromkeys(peers.behaviours, BLOCKS))
    await synced(chain, peers, BLOCKS)
    assert {link for link, _ in peers.asked} == {1, 2, 3, 4}
    assert not peers.faults
    assert chain.most_ahead <= 3, "the replica decides no further beyond execution"


async def test_no_more_is_fetched_ahead_than_the_window_holds(autojump_clock: trio.testing.MockClock) -> None:
    peers = Peers({1: serves(CHAIN)})
    chain = Follower(CHAIN, {1: 10**9})
    sync = BlockSync(chain, peers)
    with trio.move_on_after(5.0):
        await sync.run()  # nothing is executed
    greatest = max(w.from_height + w.count for _, w in peers.asked if isinstance(w, BlocksWanted))
    assert greatest <= AHEAD_BLOCKS_MAX + 65


@pytest.mark.parametrize("bytes_", [b"garbage", b"\xc0", b"\x90", TOO_DEEP, b"\x91\x93" + TOO_DEEP])
async def test_an_answer_that_cannot_be_read_is_a_fault_and_no_end(
    bytes_: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    peers = Peers({1: gives(bytes_), HONEST: serves(CHAIN)})
    chain = Follower(CHAIN, {1: BLOCKS, HONEST: BLOCKS})
    await synced(chain, peers, BLOCKS)
    assert {(link, told.partition(".")[0]) for link, told in peers.faults} == {(1, "sync")}


async def test_a_height_that_nobody_can_show_is_doubted_and_its_teller_scored(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers({1: gives(Refusal.ABSENT), HONEST: serves(CHAIN)})
    chain = Follower(CHAIN, {1: 2**62, HONEST: BLOCKS})
    sync = await ran(chain, peers, 5.0)
    assert chain.executed_height() == BLOCKS
    assert not sync.syncing
    assert peers.faults == [(1, "sync.unproven_height")]
    await trio.sleep(DOUBT_S)
    assert sync.syncing, "it may have been slow: it is asked again later"


async def test_agreement_that_goes_on_while_a_peer_holds_sync_up_is_no_harm(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def slow(wanted: Wanted) -> bytes | Refusal:
        if len(chain.taken) < BLOCKS:
            await trio.sleep(1.0)
            chain.taken = [item.committed for item in CHAIN.items[:BLOCKS]]
            await chain.executed(BLOCKS)
        return await serves(CHAIN)(wanted)

    peers = Peers({1: slow})
    chain = Follower(CHAIN, {1: 2**62})
    chain.taken = [item.committed for item in CHAIN.items[:64]]
    sync = await ran(chain, peers, 20.0)
    assert chain.executed_height() == BLOCKS
    assert not sync.syncing
    assert peers.blamed().keys() <= {1}


async def test_agreement_that_decides_a_block_now_and_then_does_not_hold_sync_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers({1: serves(CHAIN)})
    chain = Follower(CHAIN, {1: BLOCKS})
    chain.execution_s = 0.01

    async def agree() -> None:
        while True:
            await trio.sleep(0.011)
            if len(chain.taken) < min(BLOCKS, chain.executed_height() + 3):
                chain.taken.append(CHAIN.items[len(chain.taken)].committed)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agree)
        await synced(chain, peers, BLOCKS)
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began < BLOCKS * chain.execution_s + 2.0
    assert len(peers.asked) <= 6, "what came ahead is used, and not fetched anew"
    assert not peers.faults


# --- sets, trust, forks ---------------------------------------------------------------------------


def changing(height: int) -> tuple[SigningKey, ...]:
    return FIRST_SET if height < 50 else tuple(KEYS[2:6]) if height < 120 else tuple(KEYS[3:7])


async def test_a_chain_whose_set_changes_is_followed_by_the_sets_that_its_headers_name(
    autojump_clock: trio.testing.MockClock,
) -> None:
    truth = MadeChain(BLOCKS, changing)
    peers = Peers({1: serves(truth), 2: serves(truth)})
    chain = Follower(truth, {1: BLOCKS, 2: BLOCKS})
    await synced(chain, peers, BLOCKS)
    follows(chain, truth)
    assert not peers.faults


async def test_a_rival_history_below_the_trusted_block_is_refused_before_any_of_it_is_executed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers({1: serves(RIVAL), 2: serves(RIVAL)})
    chain = Follower(CHAIN, {1: BLOCKS, 2: BLOCKS}, trusted=150)
    await ran(chain, peers, 20.0)
    assert chain.taken == []
    assert chain.kept == []
    assert chain.refusals > 0
    assert {told for _, told in peers.faults} == {"sync.untrusted"}
    assert all(isinstance(wanted, HeadersWanted) for _, wanted in peers.asked), "not one block was asked for"


async def test_a_node_whose_own_blocks_are_a_rivals_says_so_again_and_again_and_asks_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers({1: serves(CHAIN)})
    chain = Follower(CHAIN, {1: BLOCKS}, trusted=150)
    chain.taken = [item.committed for item in RIVAL.items[:80]]
    await ran(chain, peers, 10.0)
    assert chain.refusals > 5, "for as long as it runs"
    assert len(peers.asked) == 1, "the way was walked once"
    assert not peers.faults
    assert len(chain.taken) == 80


async def test_who_shows_the_way_a_header_at_a_time_is_not_asked_for_all_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    serving = serves(CHAIN, after_s=0.001)

    async def one(wanted: Wanted) -> bytes | Refusal:
        return await serving(replace(wanted, count=1) if isinstance(wanted, HeadersWanted) else wanted)

    peers = Peers({1: one, HONEST: serves(CHAIN, after_s=0.05)})
    chain = Follower(CHAIN, dict.fromkeys(peers.behaviours, BLOCKS), trusted=BLOCKS)
    await synced(chain, peers, BLOCKS)
    assert sum(link == 1 and isinstance(asked, HeadersWanted) for link, asked in peers.asked) <= 10


async def test_among_rivals_the_way_to_the_trusted_block_is_found_and_followed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers({1: serves(RIVAL), 2: serves(RIVAL), HONEST: serves(CHAIN, after_s=0.1)})
    chain = Follower(CHAIN, dict.fromkeys(peers.behaviours, BLOCKS), trusted=150)
    await synced(chain, peers, 150)
    assert [taken.block for taken in chain.taken[:150]] == [i.committed.block for i in CHAIN.items[:150]]
    assert HONEST not in peers.blamed()
    # Below the trusted block a rival's blocks do not even fit; above it nothing but trust tells them apart.
    assert {told for _, told in peers.faults} <= {"sync.untrusted", "sync.block"}


async def test_two_certified_blocks_at_one_height_are_handed_on_and_nobody_is_blamed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers({1: serves(RIVAL)})
    chain = Follower(CHAIN, {1: BLOCKS})
    chain.taken = [item.committed for item in CHAIN.items[:63]]
    await ran(chain, peers, 3.0)
    assert len(chain.taken) == 63
    assert chain.forks, "the replica sees it, and halts"
    assert chain.forks[0].block.height == 64
    assert not peers.faults


# --- signatures in batches ------------------------------------------------------------------------


@pytest.mark.parametrize("verify_all", [False, True])
async def test_batches_are_checked_whole_near_the_tip_or_everywhere(
    verify_all: bool, autojump_clock: trio.testing.MockClock
) -> None:
    truth = MadeChain(9)
    peers, chain = Peers({1: serves(truth)}), Follower(truth, {1: 9})
    await synced(chain, peers, 9, verify_all=verify_all)
    follows(chain, truth)
    below = [] if verify_all else [3, 6]
    assert [b.header.sequence * 3 for b in chain.unchecked] == below, (
        "of 9 no later header certifies the root"
    )


async def lacking_the_third(peers: Peers, *, executed: int = 0) -> Follower:
    """Return a chain that decided three blocks, after 5 s in which the third one's batches were asked for."""
    chain = Follower(CHAIN, dict.fromkeys(peers.behaviours, 3))
    chain.taken = [item.committed for item in CHAIN.items[:3]]
    chain._done = executed
    sync = BlockSync(chain, peers)
    with trio.move_on_after(5.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sync.run)
            sync.lack(CHAIN.block(3))
            await trio.sleep_forever()
    return chain


async def test_a_decided_block_whose_batches_are_lacking_gets_them_from_who_executed_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    liars = {1: serves(CHAIN, lie=another_body), 2: serves(CHAIN, lie=another_block), 3: gives(b"\xc0")}
    peers = Peers(liars | {HONEST: serves(CHAIN)})
    chain = await lacking_the_third(peers)
    assert CHAIN.items[2].batches[0] in chain.kept
    assert HONEST not in peers.blamed()
    assert {link for link, _ in peers.faults} <= {1, 2, 3}


async def test_who_shows_a_decided_block_without_its_batches_lies_and_the_next_is_asked(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers({1: serves(CHAIN, lie=without_batches), HONEST: serves(CHAIN, after_s=0.1)})
    chain = await lacking_the_third(peers, executed=2)
    assert CHAIN.items[2].batches[0] in chain.kept
    assert set(peers.faults) == {(1, "sync.batch")}


@pytest.mark.parametrize(("first", "blamed"), [(4, set[int]()), (3, {1})])
async def test_who_pruned_what_a_decided_block_lacks_is_no_liar_and_the_next_is_asked(
    first: int, blamed: set[int], autojump_clock: trio.testing.MockClock
) -> None:
    """A node that was paused asks all for what they have pruned, again and again."""
    pruned = gives(msgspec.msgpack.encode(Pruned(first)), after_s=0.001)
    peers = Peers({1: pruned, HONEST: serves(CHAIN, after_s=0.1)})
    chain = await lacking_the_third(peers, executed=2)
    assert CHAIN.items[2].batches[0] in chain.kept
    assert set(peers.blamed()) == blamed


async def test_what_a_decided_block_lacks_comes_although_this_node_is_far_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Waiting(Follower):
        async def run(self) -> None:
            """Execute nothing before the batch of block 3 is here."""
            while CHAIN.items[2].batches[0] not in self.kept:  # noqa: ASYNC110
                await trio.sleep(0.01)
            await super().run()

    chain = Waiting(CHAIN, {HONEST: BLOCKS})
    chain.taken = [item.committed for item in CHAIN.items[:3]]
    sync = BlockSync(chain, Peers({HONEST: serves(CHAIN)}))
    with trio.fail_after(60.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chain.run)
            nursery.start_soon(sync.run)
            await trio.sleep(5.0)
            sync.lack(CHAIN.block(3))
            await chain.executed(BLOCKS)
            nursery.cancel_scope.cancel()


def test_a_block_fixes_its_batches_down_the_lane_and_no_others() -> None:
    first = CHAIN.items[2].batches[0]
    second = CHAIN.items[5].batches[0]
    ordered = CHAIN.block(6)
    assert fixed(ordered, (first, second))
    assert fixed(ordered, (second,)), "the first may be of the block before"
    assert not fixed(ordered, (first,)), "nothing leads to it"
    assert not fixed(ordered, (second, second))
    assert not fixed(ordered, (replace(second, body=msgspec.msgpack.encode([b"other"])),))


async def test_a_height_that_is_a_lie_for_ever_does_not_make_blocks_wait_for_the_disk(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Where blocks pass by the hundred nobody waits for one to be durable; at the tip clients do."""
    honest = serves(CHAIN)

    async def busy_above_the_tip(wanted: Wanted) -> bytes | Refusal:
        answer = await honest(wanted)
        return Refusal.BUSY if answer is Refusal.ABSENT else answer

    chain = Follower(CHAIN, {1: 1_000_000, HONEST: BLOCKS})
    sync = BlockSync(chain, Peers({1: busy_above_the_tip, HONEST: honest}))
    passed = False
    with trio.fail_after(30.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chain.run)
            nursery.start_soon(sync.run)
            while chain.executed_height() < BLOCKS - 2:
                await trio.sleep(0.001)
                passed = passed or sync.passing
            await trio.sleep(10.0)
            assert passed
            assert sync.syncing, "the lie stands"
            assert not sync.passing
            nursery.cancel_scope.cancel()
