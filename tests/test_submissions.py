"""What a client is told of its transactions is what became of them."""

from types import SimpleNamespace
from typing import Any, cast

import trio
import trio.testing

from prsm_node.submissions import Submissions
from tests.mempool.test_mempool_admission import FORGED, Account, Desk, address, raw

PEER = 7


class Node:
    def __init__(self, desk: Desk) -> None:
        self.mempool = desk.pool
        self.machine = SimpleNamespace(clock=trio.current_time)

    def on_final(self, told: object) -> None:
        """No block becomes final here."""


async def told_while_a_peers_copy_is_checked(desk: Desk, mine: bytes) -> list[tuple[bool, str]]:
    """What a client hears that hands in what a peer handed in just before."""
    desk.ledger.accounts[address(1)] = Account(10**12)
    desk.checks.gate = trio.Event()
    told: list[tuple[bool, str]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.pool.submit, [mine], PEER)
        await trio.testing.wait_all_tasks_blocked()

        async def submit() -> None:
            told.extend(await Submissions(cast(Any, Node(desk))).submit([mine, mine]))

        nursery.start_soon(submit)
        await trio.testing.wait_all_tasks_blocked()
        assert told == [], "it may be refused yet"
        desk.checks.gate.set()
    return told


async def test_what_a_peer_brought_too_is_admitted_once_it_is_found_good() -> None:
    desk = Desk()
    assert await told_while_a_peers_copy_is_checked(desk, raw(1, 0)) == [(True, ""), (True, "")]
    assert desk.pool.stats().items == 1


async def test_what_a_peer_brought_too_and_is_refused_is_not_called_admitted() -> None:
    refused = await told_while_a_peers_copy_is_checked(Desk(), raw(1, 0, signature=FORGED))
    assert refused == [(False, "wrong_signature")] * 2
