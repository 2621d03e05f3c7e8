"""Streams in memory behave as TCP's: in order, late and not lost, held back by cuts, ended by kills."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from consensus.simulation.chance import Chance
from consensus.simulation.scenario import Links
from prsm_node.network.transport import Stream
from prsm_node.simulation import scheduling
from prsm_node.simulation.future import Future
from prsm_node.simulation.pipe import WINDOW_BYTES, Broken
from prsm_node.simulation.wires import MemoryTransport, Wires, address_of

KEYS = [bytes([number]) * 32 for number in range(2)]


class Process:
    def __init__(self, number: int) -> None:
        self.number = number
        self.dead = False

    def step(self) -> None:
        """Nobody kills it here."""


class Pair:
    """Two processes, and the stream that the first dialled to the second."""

    def __init__(self, links: Links) -> None:
        self.future = Future()
        self.wires = Wires(Chance(7), links, self.future, lambda source, to: lambda data: None)
        self.ends = [
            MemoryTransport(self.wires, Process(number), key, address_of(number, key))
            for number, key in enumerate(KEYS)
        ]
        self.dialled: Stream
        self.accepted: Stream


@asynccontextmanager
async def linked(links: Links | None = None) -> AsyncIterator[Pair]:
    pair = Pair(links or Links())
    met = trio.Event()

    async def keep(stream: Stream) -> None:
        pair.accepted = stream
        met.set()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.future.run)
        a, b = pair.ends
        async with a.run([a.address]), b.run([b.address]):
            b.handle(keep)
            pair.dialled = await a.dial(b.address)
            await met.wait()
            yield pair
        nursery.cancel_scope.cancel()


def simulated(main: Callable[[], object]) -> None:
    async def bounded() -> None:
        with trio.fail_after(600):
            await main()  # type: ignore[misc]

    scheduling.run(bounded, 1)


async def read_exactly(stream: Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        came = await stream.read(1_000)
        assert came, "the stream ended early"
        data += came
    return data


def test_bytes_arrive_in_order_whatever_is_lost() -> None:
    async def main() -> None:
        async with linked(Links(delay_min_ms=1, delay_max_ms=90, loss=0.3)) as pair:
            sent = [bytes([number]) * 10 for number in range(100)]
            for piece in sent:
                await pair.dialled.write(piece)
            assert await read_exactly(pair.accepted, 1_000) == b"".join(sent)

    simulated(main)


def test_a_cut_holds_bytes_back_in_one_direction_until_it_heals() -> None:
    async def main() -> None:
        async with linked() as pair:
            pair.wires.cut([(0, 1)])
            began = trio.current_time()
            await pair.dialled.write(b"over")
            await pair.accepted.write(b"back")
            assert await read_exactly(pair.dialled, 4) == b"back"
            assert trio.current_time() - began < 0.1
            pair.future.at(5_000, pair.wires.heal)
            assert await read_exactly(pair.accepted, 4) == b"over"
            assert trio.current_time() - began >= 5

    simulated(main)


def test_who_reads_nothing_makes_the_writer_wait() -> None:
    async def main() -> None:
        async with linked() as pair:
            written = 0
            with trio.move_on_after(10):
                while True:
                    await pair.dialled.write(bytes(1_000))
                    written += 1_000
            assert WINDOW_BYTES <= written <= WINDOW_BYTES + 1_000
            await read_exactly(pair.accepted, 1_000)
            await pair.dialled.write(b"more")

    simulated(main)


def test_what_a_process_wrote_before_it_was_killed_arrives_and_then_the_end() -> None:
    async def main() -> None:
        async with linked() as pair:
            await pair.dialled.write(b"last words")
            pair.ends[0].end()
            assert await read_exactly(pair.accepted, 10) == b"last words"
            assert await pair.accepted.read(10) == b""

    simulated(main)


def test_a_machine_without_power_is_silent_and_breaks_its_old_streams_when_it_is_back() -> None:
    async def main() -> None:
        async with linked() as pair:
            await pair.dialled.write(b"lost")
            pair.ends[0].darken()
            with trio.move_on_after(60) as silence:
                await pair.accepted.read(10)
            assert silence.cancelled_caught
            await pair.accepted.write(b"are you there?")
            del pair.wires.dark[0]
            with pytest.raises(Broken):
                await pair.accepted.read(10)

    simulated(main)


def test_nobody_is_reached_under_another_key_or_where_nobody_listens() -> None:
    async def main() -> None:
        async with linked() as pair:
            for address in (address_of(1, bytes(32)), address_of(9, KEYS[1])):
                with pytest.raises(ConnectionRefusedError):
                    await pair.ends[0].dial(address)

    simulated(main)
