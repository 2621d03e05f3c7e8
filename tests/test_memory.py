"""A claim about memory: what lies in cycles is given back though nothing else is made."""

import weakref

import trio
from trio.testing import MockClock

from prsm_node import memory


class Closed:
    """What a lost connection leaves."""

    def __init__(self) -> None:
        self.itself = self


async def test_a_cycle_is_collected_by_the_clock(autojump_clock: MockClock) -> None:
    gone = weakref.ref(Closed())
    assert gone() is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(memory.collect)
        await trio.sleep(memory.COLLECT_S + 1)
        assert gone() is None
        nursery.cancel_scope.cancel()
