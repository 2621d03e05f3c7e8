"""Nodes link up over real loopback sockets, say everything there is to say, and notice who is gone."""

from functools import partial
from itertools import combinations

import pytest
import trio
import trio.testing

from prsm_node.errors import OperatorError
from prsm_node.network import roster
from prsm_node.network.asking import ANSWERS_AT_ONCE, Busy, Late, NotFound, PeerFault
from prsm_node.network.cpu_budget import SIGNATURE_CHECK_S
from prsm_node.network.link import Link
from prsm_node.network.links import Links
from prsm_node.wire.frames import encode_message
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import (
    BatchWanted,
    BlocksWanted,
    BlockWanted,
    GenesisWanted,
    SequenceWanted,
    SessionProof,
    SignedWanted,
    Wanted,
)
from prsm_node.wire.stream import on_stream
from tests.network.nodes import ITS_OWN, NETWORK, Node, Rogue, Session, config, key, running, start, until
from tests.wire.samples import SAMPLES


async def test_four_nodes_link_up_once_each_and_every_kind_arrives_with_its_bytes() -> None:
    async with running() as nursery:
        nodes: list[Node] = []
        for index in range(1, 5):
            bootstrap = [address for node in nodes for address in node.addresses]
            nodes.append(await start(nursery, index, config(*bootstrap)))
            nodes[-1].take(set(Kind) - ITS_OWN)
        await until(lambda: all(len(node.links.links()) == 3 for node in nodes))
        expected = []
        for kind in set(Kind) - ITS_OWN:
            for message in SAMPLES[kind]:
                assert nodes[0].links.broadcast(kind, encode_message(message)) == 3
                expected.append((kind, message, encode_message(message)))
        for node in nodes[1:]:
            await until(partial(_has, node, len(expected)))
            assert all(one in node.came for one in expected)
        for first, second in combinations(nodes, 2):
            assert first.links.link(second.links.node_key) is not None
        assert all(link.number > 0 for node in nodes for link in node.up)


def _has(node: Node, count: int) -> bool:
    return len(node.came) == count


async def test_messages_of_one_kind_that_queued_leave_as_one_frame_in_their_order() -> None:
    async with running() as nursery:
        first = await start(nursery, 1, config(heartbeat_s=5))
        second = await start(nursery, 2, config(*first.addresses, heartbeat_s=5))
        first.take({Kind.TRANSACTIONS})
        await until(second.links.links)
        await until(first.links.links)
        before = second.links.stats()["frames_out"]
        for index in range(200):
            second.links.broadcast(Kind.TRANSACTIONS, encode_message(b"%d" % index))
        await until(lambda: len(first.came) == 200)
        assert [message for _, message, _ in first.came] == [b"%d" % index for index in range(200)]
        assert second.links.stats()["frames_out"] - before <= 2


async def test_two_that_dial_each_other_at_once_keep_one_link() -> None:
    async with running() as nursery:
        first = await start(nursery, 1, config())
        second = await start(nursery, 2, config())
        first.links.dial(second.addresses[0])
        second.links.dial(first.addresses[0])
        await until(lambda: first.links.links() and second.links.links())
        await trio.sleep(0.6)
        (one,), (other,) = first.links.links(), second.links.links()
        assert one.outbound != other.outbound
        second.take({Kind.TRANSACTIONS})
        first.links.broadcast(Kind.TRANSACTIONS, encode_message(b"through"))
        await until(lambda: second.came)


async def test_a_link_proves_which_validator_it_belongs_to() -> None:
    validator = key(101)
    async with running() as nursery:
        first = await start(nursery, 1, config(), validator_session=Session(key(100)))
        second = await start(nursery, 2, config(*first.addresses), validator_session=Session(validator))
        follower = await start(nursery, 3, config(*first.addresses))
        await until(lambda: len(first.links.links()) == 2)
        await until(second.links.links)
        await until(follower.links.links)
        (link,) = first.links.links_of_validator(validator.public)
        assert (link.node_key, link.session) == (second.links.node_key, b"session1")
        assert second.links.links()[0].validator == key(100).public
        assert first.links.broadcast(Kind.TRANSACTIONS, encode_message(b""), validators_only=True) == 1
        up = first.up[0]
        assert up.validator == validator.public or first.up[1].validator == validator.public, (
            "a link is up only once its proof is there"
        )


async def test_who_cannot_prove_the_validator_key_it_claims_is_banned() -> None:
    async with running() as nursery:
        node = await start(nursery, 1, config())
        async with Rogue(9).linked(node, greet=False) as rogue:
            hello = rogue.greeting(validator=key(100).public)
            proof = SessionProof(key(100).public, b"session1", key(9).sign(b"not what was asked"))
            await rogue.write(on_stream(rogue.seal(Kind.HELLO, hello, proof)))
            await until(lambda: node.links.scores.faults["wrong_session_proof"] == 1)
            assert node.up == []
            assert node.links.conduct.node_banned(rogue.key.public)


async def test_a_killed_peer_is_noticed_at_once_and_dialled_again_when_it_is_back() -> None:
    async with running() as nursery:
        first = await start(nursery, 1, config())
        async with trio.open_nursery() as mortal:
            second = await start(mortal, 2, config(*first.addresses))
            await until(first.links.links)
            await until(second.links.links)
            gone_at = trio.current_time()
            mortal.cancel_scope.cancel()
        await until(lambda: not first.links.links(), within_s=2)
        assert trio.current_time() - gone_at < 2.0
        assert [link.node_key for link in first.down] == [key(2).public]
        again = await start(nursery, 2, config(*first.addresses))
        await until(again.links.links, within_s=5)
        await until(first.links.links, within_s=5)
        assert first.up[-1].number > first.up[0].number


async def test_a_bootstrap_peer_that_comes_late_and_restarts_is_found_each_time() -> None:
    async with running() as nursery:
        async with trio.open_nursery() as mortal:
            early = await start(mortal, 1, config())
            address = early.addresses[0]
            mortal.cancel_scope.cancel()
        listening = address.partition("/p2p/")[0]
        second = await start(nursery, 2, config(address, redial_max_s=0.5))
        await trio.sleep(0.5)
        assert second.links.stats()["dials_failed"] >= 1
        for _ in range(2):
            async with trio.open_nursery() as mortal:
                await start(mortal, 1, config(listen=(listening,)))
                await until(second.links.links, within_s=5)
                mortal.cancel_scope.cancel()
            await until(lambda: not second.links.links(), within_s=2)


async def test_a_new_run_of_a_node_replaces_the_link_to_its_earlier_one() -> None:
    """The earlier one's socket is still open, as after a cut cable: nothing said that it is gone."""
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=5))
        async with Rogue(9).linked(node) as rogue:
            old = node.links.link(rogue.key.public)
            await rogue.dial(node, greet=False)
            await rogue.write(on_stream(rogue.seal(Kind.HELLO, rogue.greeting(instance=b"next run"))))
            await until(lambda: node.links.link(rogue.key.public) is not old)
            assert old in node.down
            assert len(node.links.links()) == 1


async def test_a_silent_peer_and_a_deaf_one_are_dropped_within_seconds() -> None:
    async with running() as nursery:
        node = await start(nursery, 1, config(heartbeat_s=0.2))
        async with Rogue(9).linked(node):
            await until(lambda: node.down, within_s=3)
            assert node.down[0].ended == "silent"
        async with Rogue(8).linked(node) as deaf:
            for _ in range(30):
                await deaf.write(on_stream(deaf.seal(Kind.HEARTBEAT, SAMPLES[Kind.HEARTBEAT][0])))
                await trio.sleep(0.1)
                if len(node.down) == 2:
                    break
            assert node.down[1].ended == "deaf"


async def test_a_node_whose_link_is_silent_is_dialled_beside_it_and_the_new_link_takes_its_place() -> None:
    async with running() as nursery:
        silent = await start(nursery, 1, config(heartbeat_s=60.0))
        node = await start(nursery, 2, config(*silent.addresses, heartbeat_s=0.6))
        await until(lambda: node.down)
        assert node.down[0].ended == "duplicate", "before it was given up as silent"
        assert [link.node_key for link in node.links.links()] == [silent.links.node_key]


async def test_who_does_not_greet_is_dropped() -> None:
    async with running() as nursery:
        node = await start(nursery, 1, config(greeting_s=0.3))
        async with Rogue(9).linked(node, greet=False):
            await until(lambda: node.links.scores.faults["late_greeting"] == 1)
        async with Rogue(8).linked(node, greet=False) as rogue:
            await rogue.write(on_stream(rogue.seal(Kind.TRANSACTIONS, b"before a greeting")))
            await until(lambda: node.links.scores.faults["not_greeted"] == 1)
        assert node.up == []


async def test_the_round_trip_and_the_height_of_a_peer_are_known() -> None:
    heard: list[int] = []
    async with running() as nursery:
        first = await start(nursery, 1, config(), on_height=lambda link, height: heard.append(height))
        second = await start(nursery, 2, config(*first.addresses), height=lambda: 42)
        await until(lambda: first.links.links() and first.links.links()[0].round_trip_s is not None)
        view = first.links.views()[0]
        assert view.height == 42 == heard[-1]
        assert view.round_trip_ms is not None
        assert 0 <= view.round_trip_ms < 1_000
        assert view.node_id in second.addresses[0]
        assert (view.outbound, view.version, view.score) == (False, "test", 0)
        assert view.bytes_in > 0 < view.bytes_out


async def test_more_questions_than_a_peer_answers_at_once_wait_here_and_are_no_fault_there() -> None:
    """Who lacks the certificates of all lanes of a large set has a hundred questions at once."""
    busy: list[int] = [0]

    async def answer(link: Link, wanted: Wanted) -> bytes | None:
        busy[0] += 1
        assert busy[0] <= ANSWERS_AT_ONCE
        await trio.sleep(0.01)
        busy[0] -= 1
        return b"genesis"

    async with running() as nursery:
        first = await start(nursery, 1, config(), answer=answer)
        second = await start(nursery, 2, config(*first.addresses))
        await until(second.links.links)
        (link,) = second.links.links()
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append(await second.links.ask(link, GenesisWanted(), 5))

        async with trio.open_nursery() as asking:
            for _ in range(128):
                asking.start_soon(ask)
        assert answers == [b"genesis"] * 128
        assert not first.links.scores.faults


async def test_questions_are_answered_in_parts_refused_and_timed_out() -> None:
    large = bytes(range(256)) * 4_096  # 1 MiB: four parts

    async def answer(link: Link, wanted: Wanted) -> bytes | None:
        if isinstance(wanted, SequenceWanted):
            await trio.sleep(3)
        if isinstance(wanted, SignedWanted):
            raise OSError("a disk of ours fails")
        return {GenesisWanted: b"genesis", BlocksWanted: large, BatchWanted: b""}.get(type(wanted))

    async with running() as nursery:
        first = await start(nursery, 1, config(), answer=answer)
        second = await start(nursery, 2, config(*first.addresses))
        await until(second.links.links)
        (link,) = second.links.links()
        assert await second.links.ask(link, GenesisWanted(), 5) == b"genesis"
        assert await second.links.ask(link.number, BlocksWanted(1, 64), 5) == large
        assert await second.links.ask(link.node_key, BatchWanted(bytes(32)), 5) == b""
        with pytest.raises(NotFound):
            await second.links.ask(link, BlockWanted(1, bytes(32)), 5)
        with pytest.raises(Busy):
            await second.links.ask(link, SignedWanted(bytes(32)), 5)
        with pytest.raises(PeerFault, match=r"no answer to SequenceWanted within 0\.1 s"):
            await second.links.ask(link, SequenceWanted(bytes(32)), 0.1)
        with pytest.raises(PeerFault, match="out of bounds"):
            await second.links.ask(link, BlocksWanted(1, 64), 5, bytes_max=300_000)
        assert len(second.links.links()) == 1, "none of this ends a link"
        with pytest.raises(LookupError):
            await second.links.ask(999, GenesisWanted(), 1)


async def test_an_answer_to_a_question_that_was_given_up_is_late_and_no_fault() -> None:
    answers_now = trio.Event()

    async def answer(link: Link, wanted: Wanted) -> bytes | None:
        await answers_now.wait()
        return b""

    async with running() as nursery:
        first = await start(nursery, 1, config(), answer=answer)
        second = await start(nursery, 2, config(*first.addresses))
        await until(second.links.links)
        (link,) = second.links.links()
        scopes = []
        for _ in range(3):
            scopes.append(trio.CancelScope())
            nursery.start_soon(_ask_within, scopes[-1], second, link)
            await trio.testing.wait_all_tasks_blocked()
        for scope in reversed(scopes):  # the newest is given up first, as a lost race is
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
        await until(lambda: first.links.counters["received.request"])
        answers_now.set()
        assert await second.links.ask(link, GenesisWanted(), 5) == b""
        assert second.links.scores.faults["unasked_response"] == 0


async def test_questions_that_are_late_together_are_one_fault() -> None:
    """Or who is paused for a second of each ten bans all its peers, sixteen faults at a time."""

    async def mute(link: Link, wanted: Wanted) -> bytes | None:
        await trio.sleep_forever()
        raise AssertionError("it slept for ever")

    async def late(node: Node, link: Link) -> None:
        with pytest.raises(Late):
            await node.links.ask(link, GenesisWanted(), 0.3)

    async with running() as nursery:
        first = await start(nursery, 1, config(), answer=mute)
        second = await start(nursery, 2, config(*first.addresses))
        await until(second.links.links)
        (link,) = second.links.links()
        async with trio.open_nursery() as asking:
            for _ in range(ANSWERS_AT_ONCE):
                asking.start_soon(late, second, link)
        assert second.links.scores.faults["late_answer"] == 1


async def _ask_within(scope: trio.CancelScope, node: Node, link: Link) -> None:
    with scope:
        await node.links.ask(link, GenesisWanted(), 5)


async def test_a_question_ends_when_its_link_does() -> None:
    async def answer(link: Link, wanted: Wanted) -> bytes | None:
        await trio.sleep_forever()
        return None

    async with running() as nursery:
        first = await start(nursery, 1, config(), answer=answer)
        second = await start(nursery, 2, config(*first.addresses))
        await until(second.links.links)
        nursery.start_soon(_close_soon, second.links.links()[0])
        with pytest.raises(PeerFault, match="is gone"):
            await second.links.ask(second.links.links()[0], GenesisWanted(), 5)


async def _close_soon(link: Link) -> None:
    await trio.sleep(0.1)
    link.close("test")


async def test_a_handler_that_fails_ends_its_link_and_a_broken_invariant_ends_the_node() -> None:
    def fail(link: Link, messages: list[bytes], raw: list[bytes]) -> None:
        if messages == [b"invariant"]:
            raise AssertionError("1 = 2")
        raise ValueError(messages)

    async with running() as nursery:
        first = Links(config(), key(1), NETWORK, version="test")
        first.handle(Kind.TRANSACTIONS, fail)
        ended: list[BaseException] = []
        started = trio.Event()
        addresses: list[str] = []

        class Status:
            def started(self, bound: tuple[str, ...]) -> None:
                addresses.extend(bound)
                started.set()

        async def run() -> None:
            try:
                await first.run(task_status=Status())  # type: ignore[arg-type]
            except* AssertionError as group:
                ended.append(group)

        nursery.start_soon(run)
        await started.wait()
        second = await start(nursery, 2, config(*addresses))
        await until(second.links.links)
        second.links.broadcast(Kind.TRANSACTIONS, encode_message(b"a bug"))
        await until(lambda: second.down)
        assert first.scores.faults["handler_failed"] == 1
        await until(second.links.links)
        second.links.broadcast(Kind.TRANSACTIONS, encode_message(b"invariant"))
        await until(lambda: ended)


async def test_our_own_address_a_bad_one_and_a_taken_port_are_refused_in_a_sentence() -> None:
    async with running() as nursery:
        node = await start(nursery, 1, config())
        with pytest.raises(ValueError, match="is this node itself"):
            node.links.dial(node.addresses[0])
        with pytest.raises(ValueError, match="says whom to expect"):
            node.links.dial("/ip4/127.0.0.1/tcp/7100")
        with pytest.raises(OperatorError, match=r"network\.bootstrap.*write it as"):
            Links(config("127.0.0.1:7100"), key(2), NETWORK, version="test")
        taken = node.addresses[0].partition("/p2p/")[0]
        with pytest.raises(OperatorError, match="cannot listen on"):
            await Links(config(listen=(taken,)), key(2), NETWORK, version="test").run()


async def test_links_are_limited_and_a_needed_one_still_gets_in() -> None:
    async with running() as nursery:
        validator = key(100)
        node = await start(
            nursery, 1, config(links_max=1), privileged=lambda claimed: claimed == validator.public
        )
        crowd = await start(nursery, 2, config(*node.addresses))
        await until(crowd.links.links)
        late = await start(nursery, 3, config(*node.addresses))
        await until(lambda: node.links.stats().get("links_refused"))
        await until(lambda: not late.links.links())
        member = await start(nursery, 4, config(*node.addresses), validator_session=Session(validator))
        await until(member.links.links)
        await until(lambda: node.links.links_of_validator(validator.public))
        assert len(node.links.links()) == 1


async def test_a_validator_with_many_node_keys_is_let_in_with_two_and_pays_from_one_account() -> None:
    """Node keys cost nothing: else one that is faulty has all places, and its share of our time for each."""
    async with running() as nursery:
        faulty, honest = key(100), key(101)
        node = await start(
            nursery,
            1,
            config(links_max=4),
            privileged=lambda claimed: claimed in {faulty.public, honest.public},
        )
        for index in (2, 3, 4):
            await start(nursery, index, config(*node.addresses), validator_session=Session(faulty))
        await until(lambda: len(node.up) == 3)
        assert [node.links.validates(link.number) for link in node.up] == [True, True, False]
        full = await start(nursery, 8, config(*node.addresses), validator_session=Session(faulty))
        await until(lambda: node.links.stats().get("links_refused"))
        assert not full.links.links()
        for index in (9, 10):
            member = await start(nursery, index, config(*node.addresses), validator_session=Session(honest))
            await until(member.links.links)
        for link in node.up[:2]:
            node.links.checked(link, 1_000)
        cpu = node.links.conduct.cpu
        assert cpu.spent_s(faulty.public) >= 2_000 * SIGNATURE_CHECK_S


async def test_a_crowd_that_comes_and_goes_has_nobody_forgotten_who_is_linked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who is not known as a validator pays out of what all strangers share, and is banned as one; and who is
    not known by its link's number is charged nothing."""
    monkeypatch.setattr(roster, "KEYS_MAX", 2)
    async with running() as nursery:
        validator = key(100)
        node = await start(nursery, 1, config(), privileged=lambda claimed: claimed == validator.public)
        member = await start(nursery, 2, config(*node.addresses), validator_session=Session(validator))
        await until(lambda: len(node.up) == 1)
        for index in (3, 4, 5):
            await start(nursery, index, config(*node.addresses))
        await until(lambda: len(node.up) == 4)
        known, numbers = node.links._roster, [link.number for link in node.up]
        assert known.validated(member.links.node_key) == validator.public
        assert [node.links.key_of(number) for number in numbers] == [link.node_key for link in node.up]


async def test_a_crowd_that_came_leaves_room_for_those_that_we_dial() -> None:
    async with running() as nursery:
        node = await start(
            nursery, 1, config(links_max=8, links_wanted=2, exchange_peers=True, peer_exchange_s=1e6)
        )
        for index in range(10, 18):
            await start(nursery, index, config(*node.addresses))
        await until(lambda: len(node.links.links()) == 6)
        await until(lambda: node.links.stats().get("links_refused", 0) >= 2)
        for index in (2, 3):
            known = await start(nursery, index, config())
            assert node.links.learn(known.addresses) == 1
        await until(lambda: sum(link.outbound for link in node.links.links()) == 2)
        assert len(node.links.links()) == 8
        assert sum(not link.outbound for link in node.links.links()) == 6
