"""Block sync over real links: liars lose their link and are banned, the budget's refusals are waited for."""

from collections.abc import Awaitable, Callable
from typing import cast

import trio

from prsm_node.consensus_host.outbox import Refusal
from prsm_node.network.answer_budget import AnswerBytes
from prsm_node.network.link import Link
from prsm_node.peer_outbox import PeerOutbox
from prsm_node.sync.blocks import BlockSync
from prsm_node.wire.payloads import Wanted
from tests.network.nodes import Node, config, running, start, until
from tests.sync.chains import Follower, MadeChain, serves
from tests.sync.peers import Behaviour
from tests.sync.test_block_sync import another_body, of_strangers

BLOCKS = 600
CHAIN = MadeChain(BLOCKS)


def answers(behave: Behaviour) -> Callable[[Link, Wanted], Awaitable[bytes | None]]:
    async def answer(link: Link, wanted: Wanted) -> bytes | None:
        answered = await behave(wanted)
        return None if isinstance(answered, Refusal) else answered

    return answer


async def follows(node: Node, within_s: float) -> BlockSync:
    """Have the node follow the chain to its end."""
    outbox = PeerOutbox(node.links)
    chain = Follower(CHAIN, {})
    chain.heights = outbox.heights  # type: ignore[method-assign]
    sync = BlockSync(chain, outbox)
    with trio.fail_after(within_s):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chain.run)
            nursery.start_soon(sync.run)
            await chain.executed(BLOCKS)
            nursery.cancel_scope.cancel()
    assert [taken.block for taken in chain.taken] == [item.committed.block for item in CHAIN.items]
    return sync


async def test_liars_lose_their_links_and_are_banned_and_the_honest_peer_is_enough() -> None:
    liars = [serves(CHAIN, after_s=0.0, lie=lie) for lie in (of_strangers, another_body)]
    async with running() as nursery:
        peers = [
            await start(nursery, index, config(), answer=answers(behave), height=lambda: BLOCKS)
            for index, behave in enumerate([*liars, serves(CHAIN, after_s=0.1)], start=1)
        ]
        node = await start(nursery, 9, config(*[address for peer in peers for address in peer.addresses]))
        await until(lambda: [link.height for link in node.links.links()] == [BLOCKS] * 3)
        sync = await follows(node, 20.0)
        for liar in peers[:2]:
            key = liar.links.node_key
            assert node.links.scores.score(key, node.links.clock()) < 0.0
        faults = node.links.scores.faults
        assert faults.keys() <= {"sync.certificate", "sync.batch"}
        honest = cast(Link, node.links.link(peers[2].links.node_key))
        assert sync.sources.source(honest.number).bytes_in > 0
        banned = [peer for peer in peers if node.links.conduct.node_banned(peer.links.node_key)]
        assert len(banned) == len([reason for reason, count in faults.items() if count >= 2])
        assert peers[2] not in banned


async def test_a_peer_whose_budget_is_spent_is_asked_again_and_keeps_its_name() -> None:
    little = AnswerBytes(stranger_per_s=80_000, strangers_per_s=80_000)
    async with running() as nursery:
        peer = await start(
            nursery, 1, config(answers=little), answer=answers(serves(CHAIN, 0.0)), height=lambda: BLOCKS
        )
        node = await start(nursery, 2, config(*peer.addresses))
        await until(lambda: [link.height for link in node.links.links()] == [BLOCKS])
        await follows(node, 30.0)
        assert peer.links.counters["answers_delayed"] > 0
        assert not node.links.scores.faults
