"""Fetches what is missing from peers: batches, certificates of tips, blocks. Every ask has a deadline.

One fetch a thing at a time, so many at once; a thing that nobody gave is wanted again by whoever still needs
it. Validators are asked first. One who does not answer soon is hedged: the next is asked too, and the first
good answer ends the fetch (Dean and Barroso, The Tail at Scale, 2013); that somebody else was quicker is no
fault of the other.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import structlog
import trio

from consensus.blocks import Proposal
from consensus.dissemination.acknowledgements import TipCertificate
from prsm_node.consensus_host.outbox import Outbox
from prsm_node.unreadable import UNREADABLE
from prsm_node.wire.payloads import (
    Batch,
    BatchWanted,
    BlockWanted,
    CertificateWanted,
    Committed,
    Wanted,
)

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # libp2p brings these stubs, which hide trio's own

log = structlog.get_logger("fetch")

# Four lanes' windows of 32 batches at once would be 128; more wait to be wanted again.
FETCHES_MAX = 128
ANSWER_S = 1.0
# An answer takes milliseconds between neighbours and 0.1 s across an ocean: who takes longer than this is
# busy or mute. Asked sooner, healthy peers would send everything twice.
HEDGE_S = 0.2
# Of one thing: 128 x 2 questions at most are open, and at most twice the bytes come.
ASKED_AT_ONCE = 2


class BlockAnswer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A block that somebody asked for: as it was proposed, or with the certificate that decided it."""

    proposal: Proposal | None
    committed: Committed | None


_batch = msgspec.msgpack.Decoder(Batch)
_tip_certificate = msgspec.msgpack.Decoder(TipCertificate)
_block_answer = msgspec.msgpack.Decoder(BlockAnswer)


class Fetcher:
    """Args: the `arrived_...` check what came and raise nothing; they return whether it was what we
    wanted. `validates`: whether the peer of a link proved to be a validator of the set."""

    def __init__(
        self,
        outbox: Outbox,
        arrived_batch: Callable[[int, bytes, Batch], Awaitable[bool]],
        arrived_certificate: Callable[[int, TipCertificate], bool],
        arrived_block: Callable[[int, bytes, BlockAnswer], bool],
        validates: Callable[[int], bool],
    ) -> None:
        self._outbox = outbox
        self._arrived_batch = arrived_batch
        self._arrived_certificate = arrived_certificate
        self._arrived_block = arrived_block
        self._validates = validates
        self._under_way: set[object] = set()
        self._nursery: trio.Nursery | None = None

    async def run(self, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Own all fetches."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def batch(self, author: bytes, digest: bytes, link: int) -> None:
        async def arrived(source: int, answer: bytes) -> bool:
            return await self._arrived_batch(source, digest, _batch.decode(answer))

        self._fetch(digest, BatchWanted(digest), author, link, arrived)

    def tip_certificate(self, author: bytes, sequence: int, digest: bytes, link: int) -> None:
        async def arrived(source: int, answer: bytes) -> bool:
            certificate = _tip_certificate.decode(answer)
            named = (certificate.author, certificate.sequence, certificate.digest)
            return named == (author, sequence, digest) and self._arrived_certificate(source, certificate)

        self._fetch((author, sequence), CertificateWanted(author, sequence, digest), author, link, arrived)

    def block(self, height: int, value: bytes, link: int) -> None:
        async def arrived(source: int, answer: bytes) -> bool:
            return self._arrived_block(source, value, _block_answer.decode(answer))

        self._fetch((height, value), BlockWanted(height, value), None, link, arrived)

    def _fetch(
        self,
        thing: object,
        wanted: Wanted,
        author: bytes | None,
        link: int,
        arrived: Callable[[int, bytes], Awaitable[bool]],
    ) -> None:
        if thing in self._under_way or len(self._under_way) >= FETCHES_MAX or self._nursery is None:
            return
        self._under_way.add(thing)
        self._nursery.start_soon(partial(self._ask_around, thing, wanted, author, link, arrived))

    async def _ask_around(
        self,
        thing: object,
        wanted: Wanted,
        author: bytes | None,
        link: int,
        arrived: Callable[[int, bytes], Awaitable[bool]],
    ) -> None:
        checking = trio.Lock()
        open_places = trio.Semaphore(ASKED_AT_ONCE, max_value=ASKED_AT_ONCE)

        async def ask(source: int, given_up: trio.Event) -> None:
            try:
                await self._ask_one(source, wanted, arrived, checking, nursery.cancel_scope)
            finally:
                open_places.release()
                given_up.set()

        try:
            async with trio.open_nursery() as nursery:
                for source in self._in_order(author, link):
                    await open_places.acquire()
                    given_up = trio.Event()
                    nursery.start_soon(ask, source, given_up)
                    with trio.move_on_after(HEDGE_S):
                        await given_up.wait()
        finally:
            self._under_way.discard(thing)

    def _in_order(self, author: bytes | None, link: int) -> list[int]:
        """Validators before others; among equals who told of it, then its author."""
        links = self._outbox.links()
        likely = [link, self._outbox.link_of(author) if author is not None else None]
        first = [source for source in likely if source in links]
        return sorted(dict.fromkeys([*first, *links]), key=lambda source: not self._validates(source))

    async def _ask_one(
        self,
        source: int,
        wanted: Wanted,
        arrived: Callable[[int, bytes], Awaitable[bool]],
        checking: trio.Lock,
        race: trio.CancelScope,
    ) -> None:
        """End the race if this peer gives what is wanted. Cancelling forgets the question, which is nobody's
        fault."""
        answer = await self._outbox.ask(source, wanted, ANSWER_S)
        if answer is None:
            return
        # One answer is checked at a time: a second one would be for nothing, and a check that was begun ends
        # before another's good answer can cancel it.
        async with checking:
            try:
                if await arrived(source, answer):
                    race.cancel()
                    return
            except UNREADABLE as error:
                self._outbox.fault(source, f"answer to {type(wanted).__name__}: {error}")
                return
        self._outbox.fault(source, f"answered {type(wanted).__name__} with something else")
