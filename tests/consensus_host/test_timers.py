"""Timers under trio: set again they move, and one task serves them all."""

import trio
import trio.testing

from consensus.timers import Timer, TimerKind
from prsm_node.consensus_host.timers import Timers

PROPOSE = Timer(TimerKind.PROPOSE, 1, 0)
RESEND = Timer(TimerKind.RESEND, 1)


async def fired(timers: list[tuple[Timer, int]], for_s: float) -> list[tuple[Timer, int]]:
    seen: list[tuple[Timer, int]] = []
    start = trio.current_time()
    served = Timers(lambda timer: seen.append((timer, round((trio.current_time() - start) * 1000))))
    with trio.move_on_after(for_s):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.run)
            for timer, delay_ms in timers:
                served.set(timer, delay_ms)
            await trio.sleep_forever()
    return seen


async def test_timers_fire_in_order_of_their_deadlines(autojump_clock: trio.testing.MockClock) -> None:
    assert await fired([(RESEND, 500), (PROPOSE, 200)], 2) == [(PROPOSE, 200), (RESEND, 500)]


async def test_a_timer_set_again_moves_and_fires_once(autojump_clock: trio.testing.MockClock) -> None:
    assert await fired([(PROPOSE, 200), (PROPOSE, 700)], 2) == [(PROPOSE, 700)]
    assert await fired([(PROPOSE, 700), (PROPOSE, 200)], 2) == [(PROPOSE, 200)]
