"""What whole daemons said to each other, in the words that replicas' messages are told in.

A trace keeps frames as they left; they are read when it is told. Greetings, heartbeats and gossip stay out:
they decide nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from consensus import inputs
from consensus.simulation.cluster import Event
from consensus.simulation.timeline import Said, said
from prsm_node.wire.kinds import KINDS, Kind
from prsm_node.wire.payloads import Request, Response

Frames = list[tuple[Kind, list[bytes]]]
"""The kind of each, and its messages."""

TOLD_MAX = 6
"""Of a frame's messages; a voter that was away gets hundreds of votes at once."""
UNARRIVED = "unarrived"
LINK = 0

AS_INPUT: dict[Kind, Callable[[Any], inputs.Input]] = {
    Kind.PROPOSAL: lambda proposal: inputs.ProposalReceived(LINK, proposal),
    Kind.VOTE: lambda vote: inputs.VoteReceived(LINK, vote),
    Kind.CERTIFICATE: lambda certificate: inputs.CertificateReceived(LINK, certificate),
    Kind.COMMITTED: lambda told: inputs.BlockReceived(LINK, told.block, told.certificate),
    Kind.EVIDENCE: lambda evidence: inputs.EvidenceReceived(LINK, evidence),
    Kind.BATCH: lambda batch: inputs.BatchReceived(LINK, batch.header),
    Kind.ACKNOWLEDGEMENT: lambda given: inputs.AcknowledgementReceived(LINK, given),
    Kind.TIP_CERTIFICATE: lambda certificate: inputs.TipCertificateReceived(LINK, certificate),
}
"""What a replica would make of it."""
DECODERS: dict[Kind, msgspec.msgpack.Decoder[Any]] = {
    kind: msgspec.msgpack.Decoder(KINDS[kind].payload) for kind in (*AS_INPUT, Kind.REQUEST, Kind.RESPONSE)
}
"""Of what is told."""


class Sent:
    """What left a process at once on a stream. `now_ms` tells the time of the simulation."""

    def __init__(self, frames: Frames, now_ms: Callable[[], float]) -> None:
        self.came_ms: float | None = None
        """None while it is under way, or if it never arrives."""
        self._frames = frames
        self._now_ms = now_ms

    def arrives(self) -> None:
        self.came_ms = self._now_ms()

    def said(self, name: Callable[[bytes], str]) -> Iterator[Said]:
        """Its messages, those of a frame and kind together. `name` says whose a key is."""
        for kind, messages in self._frames:
            if kind not in DECODERS:
                continue
            texts: dict[str, list[str]] = {}
            for raw in messages:
                one = _said(kind, DECODERS[kind].decode(raw), name)
                texts.setdefault(one.kind, []).append(one.text)
            for drawn, told in texts.items():
                more = [f"and {len(told) - TOLD_MAX} more"] if len(told) > TOLD_MAX else []
                yield Said(drawn, ", ".join([*told[:TOLD_MAX], *more]))


def told(trace: Sequence[Event], names: Mapping[bytes, str]) -> list[Event]:
    """What happened up to the end or the first broken promise. A message stands where it arrived; one that
    did not, where it left."""
    over = next((at for at, event in enumerate(trace) if event.kind == "violation"), len(trace) - 1)
    ends_ms = trace[over].at_ms if trace else 0.0
    found: list[Event] = []
    others: list[Event] = []
    for event in trace[: over + 1]:
        if not isinstance(event.what, Sent):
            others.append(event)
            continue
        came_ms = event.what.came_ms
        for one in event.what.said(lambda key: names.get(key, key.hex()[:6])):
            if came_ms is None or came_ms > ends_ms:
                found.append(Event(event.at_ms, UNARRIVED, event.who, one, event.at_ms))
            else:
                found.append(Event(came_ms, "message", event.who, one, event.at_ms))
    return sorted([*found, *others], key=lambda event: event.at_ms)


def _said(kind: Kind, message: Any, name: Callable[[bytes], str]) -> Said:
    if isinstance(message, Request):
        wanted = message.wanted
        fields = ", ".join(_short(getattr(wanted, field), name) for field in wanted.__struct_fields__)
        return Said("question", f"question {message.id}: {type(wanted).__name__}({fields})")
    if isinstance(message, Response):
        part = f"part {message.part + 1} of {message.parts}, {len(message.body)} bytes"
        return Said("answer", f"answer {message.id}: {message.outcome.name.lower()}, {part}")
    return said(AS_INPUT[kind](message), name)


def _short(value: object, name: Callable[[bytes], str]) -> str:
    return name(value) if isinstance(value, bytes) else str(value)
