"""A faulty validator whose every move is bytes: it changes what it hears, signs it anew where it may, and
sends it on.

Whatever it does, three honest validators keep every promise that the simulation watches, go on, and raise
nothing (consensus/simulation/invariants.py). What the wire would refuse for its bounds is not sent.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from consensus.blocks import Proposal
from consensus.dissemination.acknowledgements import Acknowledgement
from consensus.dissemination.batches import BatchHeader
from consensus.inputs import Input
from consensus.simulation.chance import Chance
from consensus.simulation.cluster import Cluster
from consensus.simulation.validator import Validator
from consensus.votes import Vote

REMEMBERED: Final = 24
MOVES_MAX: Final = 400
FAULTY_MS: Final = 3_000
CALM_MS: Final = 15_000
SEAL_EVERY_MS: Final = 250
NUMBERS: Final = (0, 1, 2, 3, 255, 2**31 - 1, 2**62)
DEPTH_MAX: Final = 8
_encode = msgspec.msgpack.Encoder().encode


class Script:
    """The bytes of an input, one after the other; noughts when they are used up."""

    def __init__(self, data: bytes) -> None:
        self._rest = iter(data)
        self.ended = False

    def byte(self) -> int:
        found = next(self._rest, None)
        self.ended = found is None
        return found or 0

    def below(self, count: int) -> int:
        return self.byte() % count


class Hostile(Validator):
    """An honest validator's process, until its script says otherwise."""

    honest = False
    script: Script

    def __init__(self, cluster: Cluster, number: int, key: bytes, name: str) -> None:
        super().__init__(cluster, number, key, name)
        self._heard: deque[Input] = deque(maxlen=REMEMBERED)
        self._digests: deque[bytes] = deque([bytes(32), key], maxlen=REMEMBERED)
        self._moves = 0

    def receive(self, what: Input) -> None:
        self._heard.append(what)
        super().receive(what)
        if self._moves < MOVES_MAX and not self.script.ended and self.script.below(2):
            self._moves += 1
            self._move()

    def broadcast(self, what: Input) -> None:
        self._heard.append(what)
        super().broadcast(what)

    def _move(self) -> None:
        what = self._heard[self.script.below(len(self._heard))]
        for _ in range(self.script.below(3)):
            what = self._changed(what, 0)
        sent = self._sent(what)
        if sent is None:
            return
        chosen = self.script.byte()
        for to in self.cluster.all:
            if to is not self and chosen >> to.number & 1:
                self.cluster.send(self, to, sent)

    def _sent(self, what: Input) -> Input | None:
        """What reaches a replica of it: none where decoding refuses it; signed, where our name is on it."""
        for name in what.__struct_fields__:
            message = getattr(what, name)
            if isinstance(message, msgspec.Struct):
                try:
                    message = msgspec.msgpack.decode(_encode(message), type=type(message))
                except (msgspec.MsgspecError, OverflowError):
                    return None
                what = replace(what, **{name: self._signed(message)})
        return replace(what, link=self.link)

    def _signed(self, message: Any) -> Any:
        signatures = self.cluster.signatures
        if isinstance(message, Vote) and message.voter == self.key:
            return signatures.sign_vote(message)
        if isinstance(message, Proposal) and message.proposer == self.key:
            return signatures.sign_proposal(message)
        if isinstance(message, BatchHeader) and message.author == self.key:
            return signatures.sign_batch(message)
        if isinstance(message, Acknowledgement) and message.voter == self.key:
            return signatures.sign_acknowledgement(message)
        return message

    # --- changing -----------------------------------------------------------------------------------

    def _changed(self, value: Any, depth: int) -> Any:
        """One part of a value, chosen by the script, made another."""
        if depth >= DEPTH_MAX:
            return value
        if isinstance(value, msgspec.Struct):
            fields = [name for name in value.__struct_fields__ if name != "link"]
            name = fields[self.script.below(len(fields))]
            return replace(value, **{name: self._changed(getattr(value, name), depth + 1)})
        if isinstance(value, tuple):
            return self._changed_tuple(value, depth)
        if isinstance(value, Enum):
            kinds = list(type(value))
            return kinds[self.script.below(len(kinds))]
        if isinstance(value, int):
            return self._number(value)
        if isinstance(value, bytes):
            self._digests.append(value)
        return self._digest()

    def _changed_tuple(self, value: tuple[Any, ...], depth: int) -> tuple[Any, ...]:
        choice = self.script.below(4)
        if not value or choice == 0:
            return ()
        at = self.script.below(len(value))
        if choice == 1:
            return (*value[:at], *value[at + 1 :])
        if choice == 2:
            return (*value, value[at])
        return (*value[:at], self._changed(value[at], depth + 1), *value[at + 1 :])

    def _number(self, value: int) -> int:
        choice = self.script.byte()
        near = (value - 1, value + 1, self.replica.height.height, self.replica.height.round, -1)
        return (*near, *NUMBERS)[choice % (len(near) + len(NUMBERS))]

    def _digest(self) -> bytes | None:
        choice = self.script.below(len(self._digests) + 2)
        if choice < len(self._digests):
            return self._digests[choice]
        return None if choice == len(self._digests) else self.cluster.all[self.script.below(4)].key


def withstand(data: bytes) -> None:
    """Run four validators, the last of them hostile, then hold the three to new blocks. Raise Violation."""

    def hostile(cluster: Cluster, number: int, key: bytes, name: str) -> Hostile:
        made = Hostile(cluster, number, key, name)
        made.script = script
        return made

    script = Script(data)
    make: Callable[[Cluster, int, bytes, str], Validator] = hostile
    cluster = Cluster(Chance(script.byte()), [1] * 4, actors={3: (make,)}).start()
    for number in range((FAULTY_MS + CALM_MS) // SEAL_EVERY_MS):
        cluster.at(number * SEAL_EVERY_MS, partial(cluster.seal, number % 4, number))
    cluster.run(FAULTY_MS)
    goal = max(cluster.heights()) + 2
    reached = cluster.run(CALM_MS, until=lambda: min(len(v.blocks) for v in cluster.honest) >= goal)
    assert reached, f"not all honest reached height {goal}: {cluster.heights()}"
