"""Validators under virtual time and one seed: an event heap, and the links, disks and clocks they meet.

One seed gives one trace, byte for byte, in every process: all that is drawn comes from its `Chance`, and no
order comes from a set. Time is in milliseconds since `start_ms`.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple, Self

from consensus.certificates import CheckedCertificate
from consensus.dissemination.batches import BatchHeader
from consensus.inputs import BatchSealed, Input
from consensus.rules import Rules
from consensus.simulation.chance import Chance
from consensus.simulation.execution import Execution
from consensus.simulation.forks import Forks
from consensus.simulation.invariants import Invariants
from consensus.simulation.network import Network
from consensus.simulation.process import Process
from consensus.simulation.scenario import Links
from consensus.simulation.signatures import Signatures
from consensus.simulation.validator import Validator
from consensus.validators import ValidatorSet

START_MS = 1_700_000_000_000
"""A clock that is set back by a year still shows a time after 1970."""
GENESIS = sha256(b"genesis of a simulated network").digest()


class Event(NamedTuple):
    """What happened, for people and for comparing traces."""

    at_ms: float
    kind: str
    who: str
    what: object
    sent_ms: float = 0.0
    """When a message left."""


class Stopped(Exception):
    """As many steps were made as were asked for."""


Make = Callable[["Cluster", int, bytes, str], Validator]


class Cluster:
    """Args:
    powers: one for each validator.
    actors: what a validator is made of, by its number, where it is not honest.
    changes_every: at which heights the validator set changes (execution.py).
    jails: whether who is convicted leaves it.
    trace: whether to keep what happens.
    """

    start_ms = START_MS
    genesis = GENESIS

    def __init__(
        self,
        chance: Chance,
        powers: Sequence[int] = (1, 1, 1, 1),
        links: Links | None = None,
        rules: Rules | None = None,
        actors: Mapping[int, Sequence[Make]] | None = None,
        changes_every: int = 0,
        jails: bool = True,
        *,
        trace: bool = False,
    ) -> None:
        self.chance = chance
        self.rules = rules or Rules()
        self.network = Network(chance, links or Links())
        self.transactions_a_batch = 1
        self.elapsed_ms = 0.0
        self.delivered = 0
        self.steps = 0
        self.steps_max: int | None = None
        self.sealed_ms: list[float] = []
        """When an honest validator closed a batch."""
        self.on_vote: Callable[[int, int], None] = lambda height, round_: None
        """Told the height and round of each vote that is cast."""
        self.trace: list[Event] | None = [] if trace else None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        actors = actors or {}
        keys = [bytes((65 + i,)) * 32 for i in range(len(powers))]
        self.validators = ValidatorSet(zip(keys, powers, strict=True))
        names = {key: f"v{i}" for i, key in enumerate(keys)}
        faulty = [keys[i] for i in actors]
        self.signatures = Signatures()
        self.execution = Execution(GENESIS, self.validators, faulty, changes_every, jails=jails)
        self.invariants = Invariants(
            self.validators, names, faulty, self.execution, self.held_batch, self.rules.window
        )
        self.forks = Forks(self.invariants.faulty, self._polkas)
        self.all: list[Validator] = []
        for i, key in enumerate(keys):
            make = actors[i][0] if i in actors else Validator
            self.all.append(make(self, i, key, names[key]))
        for i in sorted(actors):
            for make in actors[i][1:]:
                self.all.append(make(self, len(self.all), keys[i], f"{names[keys[i]]}'"))
        self.honest = [validator for validator in self.all if validator.honest]
        self.by_key = {key: [v for v in self.all if v.key == key] for key in keys}

    @property
    def now_ms(self) -> int:
        return START_MS + int(self.elapsed_ms)

    def start(self) -> Self:
        for validator in self.all:
            validator.start()
        return self

    # --- events -----------------------------------------------------------------------------------

    def at(self, delay_ms: float, act: Callable[[], None]) -> None:
        self._count += 1
        # In whole microseconds, so that a moment is the same whatever it is reckoned from.
        heapq.heappush(self._queue, (round(self.elapsed_ms + delay_ms, 3), self._count, act))

    def send(self, source: Validator, to: Validator, what: Input) -> None:
        self.deliver(source, to, what, 0.0)

    def deliver(self, source: Validator, to: Validator, what: Input, after_ms: float) -> None:
        delays_ms = self.network.delays_ms(source.number, to.number, what)
        sent_ms = self.elapsed_ms
        for delay_ms in delays_ms:
            self.at(delay_ms + after_ms, lambda: self._arrive(to, source, what, sent_ms))
        if not delays_ms and self.trace is not None:
            cut = self.network.is_cut(source.number, to.number)
            self.trace.append(
                Event(sent_ms, "cut off" if cut else "lost", f"{source.name} > {to.name}", what, sent_ms)
            )

    def _arrive(self, to: Validator, source: Validator, what: Input, sent_ms: float) -> None:
        self.delivered += 1
        if self.trace is not None:
            self.trace.append(Event(self.elapsed_ms, "message", f"{source.name} > {to.name}", what, sent_ms))
        to.receive(what)

    def record(self, kind: str, who: Process | None, what: str) -> None:
        if self.trace is not None:
            self.trace.append(Event(self.elapsed_ms, kind, who.name if who is not None else "", what))

    def run(self, milliseconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; end early when `until` holds, which is asked ten times a second. Return whether it
        held. Raise Stopped after `steps_max` steps."""
        end = self.elapsed_ms + milliseconds
        ask_ms = self.elapsed_ms
        while self._queue and self._queue[0][0] <= end:
            at_ms, _, act = heapq.heappop(self._queue)
            if until is not None and at_ms >= ask_ms:
                if until():
                    heapq.heappush(self._queue, (at_ms, 0, act))
                    return True
                ask_ms = at_ms + 100
            if self.steps == self.steps_max:
                raise Stopped
            self.steps += 1
            self.elapsed_ms = max(self.elapsed_ms, at_ms)
            act()
        self.elapsed_ms = end
        return until is not None and until()

    # --- what tests and schedules ask ----------------------------------------------------------------

    def seal(self, number: int, body: int) -> None:
        """Close a batch in this validator's lane, if it has room."""
        validator = self.all[number]
        if validator.up and validator.replica.lanes.room() > 0:
            if validator.honest:
                self.sealed_ms.append(self.elapsed_ms)
            validator.feed(BatchSealed(body.to_bytes(32, "big")))

    def heights(self) -> list[int]:
        return [len(validator.blocks) for validator in self.all]

    def ordered(self) -> int:
        """How many batches the furthest validator's blocks order."""
        furthest = max(self.all, key=lambda validator: len(validator.blocks))
        tips = {tip.author: tip.sequence for block, _ in furthest.blocks for tip in block.tips}
        return sum(tips.values())

    def held_batch(self, digest: bytes) -> BatchHeader | None:
        """A batch that an honest validator holds durably."""
        return next((v.batches[digest] for v in self.honest if digest in v.batches), None)

    def _polkas(self, height: int) -> list[CheckedCertificate]:
        return [polka for v in self.honest for polka in v.replica.polkas(height)]

    def lane(self, author: bytes) -> list[BatchHeader]:
        return [b for v in self.by_key[author] for b in v.batches.values() if b.author == author]
