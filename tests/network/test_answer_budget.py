"""What peers may make this node send for their asking: buckets, who waits, who is refused."""

import pytest
import trio

from prsm_node.network import asking
from prsm_node.network.answer_budget import (
    ANSWER_MIN,
    CHARGE_MIN,
    MIB,
    NODES_MAX,
    AnswerBudget,
    AnswerBytes,
)
from prsm_node.network.asking import Busy, NotFound
from prsm_node.network.gossip import Gossiper
from prsm_node.network.link import Link
from prsm_node.token_bucket import BURST_S, TokenBucket
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import BlocksWanted, GenesisWanted, Wanted
from prsm_node.wire.stream import on_stream
from tests.network.nodes import Rogue, Session, config, key, running, start, until

ANSWER_BYTES = 4 * MIB


def sent(budget: AnswerBudget, asker: bytes, validator: bool, begin_s: float, for_s: float) -> int:
    """Bytes that one asker gets who asks again as soon as it is answered."""
    now, total = begin_s, 0
    while (now := now + budget.wait_s(asker, validator, now)) < begin_s + for_s:
        budget.charge(asker, validator, ANSWER_BYTES, now)
        total += ANSWER_BYTES
    return total


def test_a_bucket_pays_its_bound_then_its_rate_and_a_debt_first() -> None:
    bucket = TokenBucket(10, 20, 5.0)
    assert bucket.take(20, 5.0)
    assert not bucket.take(1, 5.0)
    bucket.spend(30, 5.0)
    assert bucket.wait_s(5.0) == pytest.approx(3.0)
    assert bucket.wait_s(8.0) == 0.0
    assert not bucket.take(1, 8.0)
    assert bucket.take(20, 1_000.0)
    assert not bucket.take(1, 1_000.0), "it never holds more than its bound"
    assert not bucket.take(1, 900.0), "a clock that went back gives nothing"


def test_a_late_starter_syncs_at_full_speed_and_no_faster() -> None:
    limits = AnswerBytes()
    total = sent(AnswerBudget(limits), b"late", False, 100.0, 60.0)
    assert total >= 60 * 25_000_000, "200 full blocks a second"
    assert total <= (60 + BURST_S) * limits.stranger_per_s + ANSWER_BYTES


def test_a_validator_gets_more_than_a_stranger_and_is_not_starved_by_many() -> None:
    budget, limits = AnswerBudget(AnswerBytes()), AnswerBytes()
    for stranger in range(64):
        sent(budget, stranger.to_bytes(32, "big"), False, 0.0, 1.0)
    assert budget.wait_s(b"another stranger", False, 1.0) > 0.0
    assert sent(budget, b"validator", True, 1.0, 10.0) >= 10 * limits.validator_per_s
    strangers = AnswerBudget(limits)
    total = sum(sent(strangers, bytes([s]) * 32, False, float(s), 1.0) for s in range(20))
    assert total <= (20 + BURST_S) * limits.strangers_per_s + 20 * ANSWER_BYTES


def test_whoever_asks_for_nothing_much_pays_for_the_frame_and_buckets_are_bounded() -> None:
    budget = AnswerBudget(AnswerBytes(stranger_per_s=CHARGE_MIN))
    for _ in range(int(BURST_S) + 1):
        assert budget.wait_s(b"asker", False, 0.0) == 0.0
        budget.charge(b"asker", False, 0, 0.0)
    assert budget.wait_s(b"asker", False, 0.0) == pytest.approx(1.0)
    for node in range(NODES_MAX + 10):
        budget.charge(node.to_bytes(32, "big"), False, 0, 0.0)
    assert len(budget._nodes) == NODES_MAX


async def test_who_asks_beyond_its_budget_waits_and_then_is_refused_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "WAIT_MAX_S", 0.3)
    little = AnswerBytes(stranger_per_s=100_000, validator_per_s=100_000_000)
    genesis = bytes(400_000)

    async def answer(link: Link, wanted: Wanted) -> bytes | None:
        return genesis

    async with running() as nursery:
        validator = key(103)
        first = await start(
            nursery, 1, config(answers=little), answer=answer, privileged=lambda k: k == validator.public
        )
        stranger = await start(nursery, 2, config(*first.addresses))
        member = await start(nursery, 3, config(*first.addresses), validator_session=Session(validator))
        await until(lambda: stranger.links.links() and member.links.links())
        (link,) = stranger.links.links()
        began = trio.current_time()
        assert await stranger.links.ask(link, GenesisWanted(), 5) == genesis
        # 200,000 bytes of debt are 2 s, and more than it may wait: refused.
        with pytest.raises(Busy):
            await stranger.links.ask(link, GenesisWanted(), 5)
        assert first.links.counters["answers_refused.over_budget"] == 1
        assert first.links.scores.faults["answers_over_budget"] == 1
        # The rest of the debt is a wait that it may have.
        monkeypatch.setattr(asking, "WAIT_MAX_S", 4.0)
        assert await stranger.links.ask(link, GenesisWanted(), 5) == genesis
        assert trio.current_time() - began >= 2.0
        assert first.links.counters["answers_delayed"] == 2
        (link,) = member.links.links()
        for _ in range(8):
            assert await member.links.ask(link, BlocksWanted(1, 64), 5) == genesis
        assert first.links.counters["answers_delayed"] == 2, "a validator has a budget of its own"


async def test_who_waits_for_what_other_strangers_had_is_at_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a crowd that asks for all that there is has every honest stranger banned."""
    monkeypatch.setattr(asking, "WAIT_MAX_S", 0.2)

    async def answer(link: Link, wanted: Wanted) -> bytes | None:
        return bytes(400_000)

    async with running() as nursery:
        limits = AnswerBytes(stranger_per_s=1_000_000, strangers_per_s=100_000)
        first = await start(nursery, 1, config(answers=limits), answer=answer)
        greedy = await start(nursery, 2, config(*first.addresses))
        modest = await start(nursery, 3, config(*first.addresses))
        await until(lambda: greedy.links.links() and modest.links.links())
        await greedy.links.ask(greedy.links.links()[0], GenesisWanted(), 5)
        with pytest.raises(Busy):
            await modest.links.ask(modest.links.links()[0], GenesisWanted(), 5)
        assert first.links.counters["answers_refused.over_budget"] == 1
        assert not first.links.scores.faults["answers_over_budget"]


async def test_small_answers_cost_what_the_core_pays_for_them() -> None:
    """A question of 40 bytes for what is not there is a task, a search and a reply: bytes alone let one peer
    ask for thousands a second."""

    async def answer(link: Link, wanted: Wanted) -> bytes | None:
        return None

    async with running() as nursery:
        limits = AnswerBytes(stranger_per_s=ANSWER_MIN)
        first = await start(nursery, 1, config(answers=limits), answer=answer)
        second = await start(nursery, 2, config(*first.addresses))
        await until(second.links.links)
        for _ in range(int(BURST_S) + 1):
            with pytest.raises(NotFound):
                await second.links.ask(second.links.links()[0], GenesisWanted(), 5)
        assert first.links.answer_wait_s(first.links.links()[0]) > 0.5
    strangers = AnswerBytes().strangers_per_s / ANSWER_MIN
    assert strangers * 0.3e-3 < 0.5, "what all strangers' questions take of a core, at 0.3 ms each"


async def test_a_new_link_does_not_fill_the_budget_of_its_node() -> None:
    async def answer(link: Link, wanted: Wanted) -> bytes | None:
        return bytes(250_000)

    async with running() as nursery:
        first = await start(
            nursery, 1, config(answers=AnswerBytes(stranger_per_s=100_000, strangers_per_s=1)), answer=answer
        )
        second = await start(nursery, 2, config(*first.addresses))
        await until(second.links.links)
        await second.links.ask(second.links.links()[0], GenesisWanted(), 5)
        (old,) = first.links.links()
        old.close("cut")
        await until(lambda: [link for link in first.links.links() if link is not old])
        assert first.links.answer_wait_s(first.links.links()[0]) > 0.0


async def test_gossip_wanted_again_and_again_is_given_within_the_budget_and_refusals_are_counted() -> None:
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5, answers=AnswerBytes(stranger_per_s=100_000)))
        gossiper = Gossiper(node.links, have_s=1e6)
        gossiper.subscribe(3, lambda link, body: True)
        digests = tuple(gossiper.publish(3, bytes([n]) * 50_000) for n in range(4))
        async with Rogue(9).linked(node) as rogue:
            for _ in range(20):
                await rogue.write(on_stream(rogue.seal(Kind.WANT, digests)))
            await until(lambda: node.links.counters["gossip_refused.over_budget"] >= 15)
            given = node.links.counters["gossip_repaired"] * 50_000
            assert given <= 100_000 * (BURST_S + 10) + 50_000
