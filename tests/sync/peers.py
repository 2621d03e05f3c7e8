"""Peers that answer as a test tells them to: an outbox without a network."""

from collections import Counter
from collections.abc import Awaitable, Callable

import trio

from prsm_node.consensus_host.outbox import Refusal
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import Wanted

Behaviour = Callable[[Wanted], Awaitable[bytes | Refusal]]


class Peers:
    """What each peer does with a question, who was asked what, and who was blamed for what."""

    def __init__(self, behaviours: dict[int, Behaviour]) -> None:
        self.behaviours = behaviours
        self.faults: list[tuple[int, str]] = []
        self.asked: list[tuple[int, Wanted]] = []
        self.open: Counter[int] = Counter()
        self.most_open: Counter[int] = Counter()

    def links(self) -> list[int]:
        return list(self.behaviours)

    async def request(self, link: int, wanted: Wanted, deadline_s: float) -> bytes | Refusal:
        self.asked.append((link, wanted))
        self.open[link] += 1
        self.most_open[link] = max(self.most_open[link], self.open[link])
        try:
            with trio.move_on_after(deadline_s):
                await trio.lowlevel.checkpoint()
                return await self.behaviours[link](wanted)
            self.fault(link, "late_answer")
            return Refusal.LATE
        finally:
            self.open[link] -= 1

    async def ask(self, link: int, wanted: Wanted, deadline_s: float) -> bytes | None:
        answer = await self.request(link, wanted, deadline_s)
        return None if isinstance(answer, Refusal) else answer

    def checked(self, link: int, signatures: int) -> None:
        """Nothing is charged here."""

    def fault(self, link: int, reason: str) -> None:
        self.faults.append((link, reason))

    def blamed(self) -> dict[int, Counter[str]]:
        """Return by link how often it was blamed for what."""
        found: dict[int, Counter[str]] = {}
        for link, reason in self.faults:
            found.setdefault(link, Counter())[reason] += 1
        return found

    def broadcast(self, kind: Kind, message: bytes) -> None: ...

    def send(self, link: int, kind: Kind, message: bytes) -> bool:
        return True

    def link_of(self, validator: bytes) -> int | None:
        return None

    def validator_of(self, link: int) -> bytes | None:
        return None


def gives(answer: bytes | Refusal, after_s: float = 0.01) -> Behaviour:
    """Always this, after a while."""

    async def behave(wanted: Wanted) -> bytes | Refusal:
        await trio.sleep(after_s)
        return answer

    return behave


async def stalls(wanted: Wanted) -> bytes | Refusal:
    await trio.sleep_forever()
    raise AssertionError("it slept for ever")
