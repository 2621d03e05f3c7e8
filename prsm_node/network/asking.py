"""Questions to one peer and their answers, which may be larger than a frame.

An answer leaves in parts of PART_BYTES_MAX, each a message of its own, so that votes pass between them. The
asker sets the bound in bytes and the deadline; the answerer works on at most ANSWERS_AT_ONCE questions a
link, lets those wait who ask for too much (answer_budget.py), and waits where the link's queue is full, so
that a slow reader costs one answer and not memory.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from prsm_node.network.answer_budget import ANSWER_MIN, WAIT_MAX_S
from prsm_node.network.link import Link
from prsm_node.wire.frames import encode_message
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import (
    PART_BYTES_MAX,
    PARTS_MAX,
    BlocksWanted,
    GroupWanted,
    HeadersWanted,
    Outcome,
    Request,
    Response,
    RestWanted,
    SnapshotWanted,
    Wanted,
)

ANSWER_BYTES_MAX = PART_BYTES_MAX * PARTS_MAX
# 16 questions a link: a syncing peer asks for 16 ranges of blocks at once; more wait on its side.
ANSWERS_AT_ONCE = 16
ANSWER_S = 10.0
# Questions of one link that are late within so long are one fault. Who is slow has sixteen late at once, and
# a node that was paused, or has no core to itself, finds those of all its peers so.
LATE_ONCE_S = 1.0
# Parts queue up to here, a quarter of the queue's bound, and go on when it has drained.
PARTS_QUEUED_BYTES = 1024 * 1024

LARGE = (BlocksWanted, HeadersWanted, SnapshotWanted, GroupWanted, RestWanted)

Answer = Callable[[Link, Wanted], Awaitable[bytes | None]]
"""Gives the bytes of an answer, at most ANSWER_BYTES_MAX, or None where there is nothing."""


class PeerFault(Exception):
    """A peer did not do its part; `link` says which, the text how."""

    def __init__(self, link: Link, text: str) -> None:
        super().__init__(f"peer {link.node_id}: {text}")
        self.link = link


class NotFound(PeerFault):
    """The peer answered that it does not have it, which is no fault of its own."""


class Busy(PeerFault):
    """The peer may have it and does not give it now: our budget there is spent. No fault: ask again later."""


class Late(PeerFault):
    """No answer came within the deadline."""


class AskingOwner(Protocol):
    """What asking needs of links.py."""

    def fault(self, link: Link, reason: str) -> None: ...
    def broken(self, error: AssertionError) -> None: ...
    def count(self, name: str) -> None: ...
    def start_soon(self, task: Callable[..., Awaitable[object]], *arguments: object) -> None: ...
    def answer_wait_s(self, link: Link) -> float: ...
    def owes_answers(self, link: Link) -> bool: ...
    def charge(self, link: Link, size: int) -> None: ...


class _Question:
    def __init__(self, link: Link, bytes_max: int) -> None:
        self.link = link
        self.bytes_max = bytes_max
        self.parts: list[bytes] = []
        self.size = 0
        self.result: bytes | PeerFault | None = None
        self.done = trio.Event()

    def end(self, result: bytes | PeerFault) -> None:
        self.result = result
        self.done.set()


class Asking:
    """All open questions of this node, and the answers it is working on."""

    def __init__(self, owner: AskingOwner, answer: Answer) -> None:
        self._owner = owner
        self._answer = answer
        self._next_id = 0
        self._open: dict[tuple[int, int], _Question] = {}
        self._late: dict[int, int] = {}
        """Link -> its greatest question given up: an answer that comes after all is late, not unasked."""
        self._blamed_at: dict[int, float] = {}
        """Link -> when it was last blamed for being late."""
        self._places: dict[int, trio.Semaphore] = {}
        """By link: one more question than its peer answers at once would be a fault of ours."""
        self._answering: dict[int, int] = {}
        self._large: dict[int, trio.Lock] = {}
        """Link -> who has a large answer on its way there."""

    async def ask(self, link: Link, wanted: Wanted, deadline_s: float, bytes_max: int) -> bytes:
        """Return the answer. Raise NotFound, Busy, Late, or PeerFault where it is too large or the link ends.

        It waits for as long again while as many questions are open there as a peer answers at once.
        Cancelling forgets the question, no more.
        """
        assert 0 < bytes_max <= ANSWER_BYTES_MAX, f"no answer has {bytes_max} bytes"
        places = self._places.setdefault(link.number, trio.Semaphore(ANSWERS_AT_ONCE))
        with trio.move_on_after(deadline_s) as waiting:
            await places.acquire()
        if waiting.cancelled_caught:
            raise Busy(link, "has as many questions of ours open as it takes at once")
        try:
            return await self._asked(link, wanted, deadline_s, bytes_max)
        finally:
            places.release()

    async def _asked(self, link: Link, wanted: Wanted, deadline_s: float, bytes_max: int) -> bytes:
        self._next_id += 1
        number, key = self._next_id, (link.number, self._next_id)
        question = self._open[key] = _Question(link, bytes_max)
        try:
            if not link.send(Kind.REQUEST, encode_message(Request(number, wanted))):
                raise PeerFault(link, "is gone")
            with trio.move_on_after(deadline_s):
                await question.done.wait()
        finally:
            del self._open[key]
            if question.result is None and link.ended is None:
                self._late[link.number] = max(number, self._late.get(link.number, 0))
        if question.result is None:
            self._is_late(link)
            raise Late(link, f"gave no answer to {type(wanted).__name__} within {deadline_s} s")
        if isinstance(question.result, PeerFault):
            raise question.result
        return question.result

    def _is_late(self, link: Link) -> None:
        now = trio.current_time()
        if link.ended is None and now - self._blamed_at.get(link.number, -LATE_ONCE_S) >= LATE_ONCE_S:
            self._blamed_at[link.number] = now
            self._owner.fault(link, "late_answer")

    def responses(self, link: Link, messages: list[Response], raw: list[bytes]) -> None:
        """Take parts of answers."""
        for response in messages:
            question = self._open.get((link.number, response.id))
            if question is None or question.result is not None:
                if response.id > self._late.get(link.number, 0):
                    self._owner.fault(link, "unasked_response")
                continue
            if response.outcome is not Outcome.FOUND:
                absent = response.outcome is Outcome.ABSENT
                question.end(
                    NotFound(link, "does not have it") if absent else Busy(link, "has sent us enough for now")
                )
                continue
            question.size += len(response.body)
            if response.part != len(question.parts) or question.size > question.bytes_max:
                self._owner.fault(link, "wrong_answer")
                question.end(PeerFault(link, f"sent part {response.part} of {response.parts} out of bounds"))
                continue
            question.parts.append(response.body)
            if response.part + 1 == response.parts:
                question.end(b"".join(question.parts))

    def requests(self, link: Link, messages: list[Request], raw: list[bytes]) -> None:
        """Take questions; each is answered in a task of its own."""
        for request in messages:
            busy = self._answering.get(link.number, 0)
            if busy >= ANSWERS_AT_ONCE:
                self._owner.fault(link, "requests_over_bound")
                self._refuse(link, request.id, Outcome.BUSY)
                continue
            self._answering[link.number] = busy + 1
            self._owner.start_soon(self._work, link, request)

    def link_down(self, link: Link) -> None:
        """End what was asked of a link that is gone."""
        for (number, _), question in list(self._open.items()):
            if number == link.number and question.result is None:
                question.end(PeerFault(link, "is gone"))
        self._late.pop(link.number, None)
        self._blamed_at.pop(link.number, None)
        self._places.pop(link.number, None)

    async def _work(self, link: Link, request: Request) -> None:
        if not isinstance(request.wanted, LARGE):
            await self._reply(link, request)
            return
        # Megabytes for 40 bytes: one at a time, so that a link that does not read holds one answer.
        lock = self._large.setdefault(link.number, trio.Lock())
        async with lock:
            if link.ended is None:
                await self._reply(link, request)
            else:
                self._answered(link)

    async def _reply(self, link: Link, request: Request) -> None:
        try:
            if not await self._may_answer(link):
                self._refuse(link, request.id, Outcome.BUSY)
                return
            with trio.move_on_after(ANSWER_S) as scope:
                body = await self._answer(link, request.wanted)
            if scope.cancelled_caught:
                self._owner.count("answer_failed")
                self._refuse(link, request.id, Outcome.BUSY)
                return
            if body is not None and len(body) > ANSWER_BYTES_MAX:
                body = None
            self._owner.charge(link, max(len(body or b""), ANSWER_MIN))
            if body is None:
                self._refuse(link, request.id, Outcome.ABSENT)
            else:
                await self._send(link, request.id, body)
        except AssertionError as error:
            self._owner.broken(error)
        except Exception:
            self._owner.count("answer_failed")  # ours, not the peer's
            self._refuse(link, request.id, Outcome.BUSY)
        finally:
            self._answered(link)

    async def _may_answer(self, link: Link) -> bool:
        """Wait until the peer's budget has no debt; False where that takes too long."""
        if self._owner.answer_wait_s(link) == 0.0:
            return True
        self._owner.count("answers_delayed")
        with trio.move_on_after(WAIT_MAX_S):
            # Again after each wait: another question of the same peer may have been answered meanwhile.
            while link.ended is None and (wait_s := self._owner.answer_wait_s(link)) > 0.0:  # noqa: ASYNC110
                await trio.sleep(wait_s)
            return link.ended is None
        self._owner.count("answers_refused.over_budget")
        if self._owner.owes_answers(link):
            self._owner.fault(link, "answers_over_budget")
        return False

    def _answered(self, link: Link) -> None:
        busy = self._answering.pop(link.number) - 1
        if busy:
            self._answering[link.number] = busy
        else:
            self._large.pop(link.number, None)

    def _refuse(self, link: Link, number: int, outcome: Outcome) -> None:
        link.send(Kind.RESPONSE, encode_message(Response(number, outcome, 0, 1, b"")))

    async def _send(self, link: Link, number: int, body: bytes) -> None:
        parts = max(1, -(-len(body) // PART_BYTES_MAX))
        for part in range(parts):
            await link.outbox.wait_below(Kind.RESPONSE, PARTS_QUEUED_BYTES)
            piece = body[part * PART_BYTES_MAX : (part + 1) * PART_BYTES_MAX]
            message = encode_message(Response(number, Outcome.FOUND, part, parts, piece))
            if not link.send(Kind.RESPONSE, message):
                return
