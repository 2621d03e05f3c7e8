"""Gossip reaches everybody, once, also whom a link or a queue failed."""

import trio

from prsm_node.network.discovery import Discovery
from prsm_node.network.gossip import Gossiper
from prsm_node.network.link import Link
from prsm_node.wire.kinds import Kind
from prsm_node.wire.stream import on_stream
from tests.network.nodes import Node, Rogue, config, running, until
from tests.wire.samples import SAMPLES

TOPIC = 3


async def gossiping(
    nursery: trio.Nursery, index: int, *bootstrap: str, **settings: object
) -> tuple[Node, Gossiper, list[bytes]]:
    node = Node(index, config(*bootstrap, **settings))
    gossiper = Gossiper(node.links, have_s=0.2)
    Discovery(node.links)
    heard: list[bytes] = []

    def take(link: Link, body: bytes) -> bool:
        heard.append(body)
        return not body.startswith(b"bad")

    gossiper.subscribe(TOPIC, take)
    node.addresses = await nursery.start(node.links.run)
    nursery.start_soon(gossiper.run)
    return node, gossiper, heard


async def test_a_message_goes_along_a_line_of_nodes_and_reaches_each_once() -> None:
    async with running() as nursery:
        first, gossiper, own = await gossiping(nursery, 1)
        second, _, heard_second = await gossiping(nursery, 2, *first.addresses)
        third, _, heard_third = await gossiping(nursery, 3, *second.addresses)
        await until(lambda: first.links.links() and third.links.links())
        gossiper.publish(TOPIC, b"news")
        gossiper.publish(TOPIC, b"news")
        await until(lambda: heard_third)
        await trio.sleep(0.5)
        assert (own, heard_second, heard_third) == ([], [b"news"], [b"news"])


async def test_what_a_node_missed_while_it_was_cut_off_is_repaired() -> None:
    async with running() as nursery:
        first, gossiper, _ = await gossiping(nursery, 1)
        second, _, heard = await gossiping(nursery, 2, *first.addresses)
        await until(lambda: first.links.links() and second.links.links())
        second.links.links()[0].close("cut")
        await until(lambda: not first.links.links())
        for index in range(50):
            gossiper.publish(TOPIC, b"while away %d" % index)
        await until(lambda: len(heard) == 50)
        assert first.links.counters["gossip_repaired"] == 50


async def test_what_a_queue_lost_is_offered_again() -> None:
    async with running() as nursery:
        first, gossiper, _ = await gossiping(nursery, 1)
        second, _, heard = await gossiping(nursery, 2, *first.addresses)
        await until(lambda: first.links.links() and second.links.links())
        (link,) = first.links.links()
        gossiper.publish(TOPIC, b"lost on the way")
        assert link.outbox.take() is not None, "as a full queue drops it"
        await until(lambda: heard == [b"lost on the way"])


async def test_bad_gossip_goes_no_further_and_is_its_senders_fault() -> None:
    async with running() as nursery:
        first, _, _ = await gossiping(nursery, 1)
        second, _, heard = await gossiping(nursery, 2, *first.addresses)
        await until(lambda: first.links.links() and second.links.links())
        async with Rogue(9).linked(first) as rogue:
            message = SAMPLES[Kind.GOSSIP][0]
            frame = rogue.seal(Kind.GOSSIP, type(message)(TOPIC, b"bad"), type(message)(TOPIC, b"good"))
            await rogue.write(len(frame).to_bytes(4, "big") + frame)
            await until(lambda: heard)
        assert heard == [b"good"]
        assert first.links.scores.faults["bad_gossip"] == 1


async def test_a_message_that_was_not_judged_is_taken_from_the_next_who_brings_it() -> None:
    """Whoever is quickest with another's message, and has used up its share here, keeps it from nobody."""
    async with running() as nursery:
        first = Node(1, config())
        gossiper = Gossiper(first.links, have_s=1e6)
        rogue_key, judged, refused = Rogue(9).key.public, list[bytes](), list[bytes]()

        def take(link: Link, body: bytes) -> bool | None:
            if link.node_key == rogue_key:
                refused.append(body)
                gossiper.forget(TOPIC, body)
                return None
            judged.append(body)
            return True

        gossiper.subscribe(TOPIC, take)
        first.addresses = await nursery.start(first.links.run)
        _, others, _ = await gossiping(nursery, 2, *first.addresses)
        await until(first.links.links)
        async with Rogue(9).linked(first) as rogue:
            message = type(SAMPLES[Kind.GOSSIP][0])(TOPIC, b"a payment")
            await rogue.write(on_stream(rogue.seal(Kind.GOSSIP, message)))
            await until(lambda: refused)
            others.publish(TOPIC, b"a payment")
            await until(lambda: judged == [b"a payment"])


async def test_a_message_that_proves_good_again_and_again_is_sent_on_once_and_held_once() -> None:
    """One of many transactions, some admitted each time that it comes: counted twice, what is held came to
    nothing, and the node to its end."""
    async with running() as nursery:
        first = Node(1, config())
        gossiper = Gossiper(first.links, have_s=1e6)
        body = bytes(60_000)

        def take(link: Link, body: bytes) -> None:
            for _ in range(200):
                gossiper.hand_on(TOPIC, body, link)
                gossiper.forget(TOPIC, body)

        gossiper.subscribe(TOPIC, take)
        first.addresses = await nursery.start(first.links.run)
        _, others, _ = await gossiping(nursery, 2, *first.addresses)
        third, _, heard = await gossiping(nursery, 3, *first.addresses)
        await until(lambda: len(first.links.links()) == 2)
        others.publish(TOPIC, body)
        await until(lambda: heard)
        _, _, late = await gossiping(nursery, 4, *first.addresses)
        await until(lambda: late)
        assert heard == late == [body], "held still, for who comes later"
        assert first.links.counters["gossip_repaired"] == 1
        assert third.links.counters["received.gossip"] == 1


async def test_what_was_not_judged_is_not_asked_for_at_every_offer_of_every_peer() -> None:
    """A node that is full would have it sent by each of its links, again and again."""
    async with running() as nursery:
        full = Node(1, config())
        gossiper = Gossiper(full.links, have_s=1e6)
        refused: list[bytes] = []

        def take(link: Link, body: bytes) -> None:
            refused.append(body)
            gossiper.forget(TOPIC, body)

        gossiper.subscribe(TOPIC, take)
        full.addresses = await nursery.start(full.links.run)
        peers = [(await gossiping(nursery, index, *full.addresses))[1] for index in (2, 3, 4)]
        await until(lambda: len(full.links.links()) == 3)
        for peer in peers:
            peer.publish(TOPIC, b"a payment")
        await until(lambda: full.links.counters["received.have"] >= 9)
        assert 3 <= len(refused) <= 6, "what each brought, and of nine offers one a second"


async def test_peers_tell_of_peers_so_that_one_bootstrap_address_is_enough() -> None:
    async with running() as nursery:
        first, _, _ = await gossiping(nursery, 1, exchange_peers=True)
        others = [
            (await gossiping(nursery, index, *first.addresses, exchange_peers=True))[0] for index in (2, 3, 4)
        ]
        await until(lambda: all(len(node.links.links()) == 3 for node in (first, *others)))
