"""A run as a page: a space-time diagram (Lamport, 1978) in one HTML file, to be opened without a network.

A lane for each process, time downwards, an arrow for each message. The page draws itself from the data that
is put into it (space_time.html); what is drawn is bounded, and the page says what was left out.
"""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, Final

import msgspec

from consensus import inputs
from consensus.simulation.cluster import Event
from consensus.simulation.run import Verdict
from consensus.simulation.timeline import Said, said

ARROWS_MAX: Final = 5_000
LAST_MS: Final = 4_000.0
"""A run is shown from so long before its end; the end of one that kept its promises is as good."""
WHOLE_MAX: Final = 1_500
"""One of so few arrows is shown from its beginning, as those that were shrunk."""
PLACE: Final = "/*DATA*/"
MESSAGE: Final = (inputs.Input, Said)
UNMARKED: Final = ("info", "serves", "settled")
"""What whole daemons do all the time: it would hide the rest."""
DOWN: Final = ("crash", "disk ended", "gave up")
"""A process runs no more, until it starts."""


def page(verdict: Verdict, trace: Sequence[Event]) -> str:
    """The whole file."""
    data = msgspec.json.encode(drawn(verdict, trace)).decode()
    # Nothing that is shown may end the script that holds it.
    safe = data.replace("<", "\\u003c")
    template = files("prsm_node.cli").joinpath("space_time.html").read_text(encoding="utf-8")
    assert template.count(PLACE) == 1, "the template has one place for the data"
    return template.replace(PLACE, safe)


def drawn(verdict: Verdict, trace: Sequence[Event]) -> dict[str, Any]:
    """What the page draws: lanes, arrows, what befell lanes and all, and what was left out."""
    ends_ms = trace[-1].at_ms if trace else 0.0
    messages = [event for event in trace if isinstance(event.what, MESSAGE)]
    begins_ms = max(0.0, ends_ms - LAST_MS) if len(messages) > WHOLE_MAX else 0.0
    arrows = [event for event in messages if event.at_ms >= begins_ms]
    left_out = len(messages) - len(arrows)
    if len(arrows) > ARROWS_MAX:
        left_out += len(arrows) - ARROWS_MAX
        arrows = arrows[-ARROWS_MAX:]
        begins_ms = arrows[0].at_ms
    faulty = dict(named.split(" ", 1) for named in verdict.faulty)
    return {
        "title": f"seed {verdict.seed}, {verdict.nodes} validators",
        "verdict": verdict.violation or "every promise was kept",
        "broken": verdict.violation is not None,
        "begins_ms": round(begins_ms, 3),
        "ends_ms": round(ends_ms, 3),
        "left_out": left_out,
        "lanes": [{"name": name, "actor": faulty.get(name, "")} for name in _lanes(trace)],
        "arrows": [_arrow(event) for event in arrows],
        "marks": list(_marks(trace, begins_ms)),
        "spans": list(_spans(trace, begins_ms, ends_ms)),
    }


def _lanes(trace: Sequence[Event]) -> list[str]:
    """Every process starts. By number; who runs twice has two beside each other."""
    names = dict.fromkeys(event.who for event in trace if event.kind == "start")
    return sorted(names, key=lambda name: (int("0" + "".join(filter(str.isdigit, name))), name))


def _arrow(event: Event) -> dict[str, Any]:
    what = event.what
    if not isinstance(what, Said):
        assert isinstance(what, inputs.Input), "a message"
        what = said(what)
    source, _, to = event.who.partition(" > ")
    return {
        "kind": what.kind,
        "from": source,
        "to": to,
        "sent": round(event.sent_ms, 3),
        "came": round(event.at_ms, 3),
        "fate": event.kind,
        "what": what.text,
    }


def _marks(trace: Sequence[Event], begins_ms: float) -> Iterator[dict[str, Any]]:
    """What is no message, where and when it happened."""
    for event in trace:
        if not isinstance(event.what, MESSAGE) and event.kind not in UNMARKED and event.at_ms >= begins_ms:
            yield {"at": round(event.at_ms, 3), "kind": event.kind, "who": event.who, "what": str(event.what)}


def _spans(trace: Sequence[Event], begins_ms: float, ends_ms: float) -> Iterator[dict[str, Any]]:
    """What lasts: cuts, processes that are down, disks that refuse."""
    open_since: dict[tuple[str, str], Event] = {}

    def closed(kind: str, who: str, at_ms: float) -> Iterator[dict[str, Any]]:
        began = open_since.pop((kind, who), None)
        if began is not None and at_ms >= begins_ms:
            since = round(max(began.at_ms, begins_ms), 3)
            yield {
                "kind": kind,
                "who": began.who,
                "what": str(began.what),
                "since": since,
                "until": round(at_ms, 3),
            }

    for event in trace:
        if event.kind in ("cut", "heal", "calm"):
            yield from closed("cut", "", event.at_ms)
        if event.kind == "start":
            yield from closed("down", event.who, event.at_ms)
        if event.kind in ("disk full", "disk failing", "disk good"):
            yield from closed("disk", event.who, event.at_ms)
        if event.kind == "cut":
            open_since["cut", ""] = event
        elif event.kind in DOWN:
            open_since.setdefault(("down", event.who), event)
        elif event.kind in ("disk full", "disk failing"):
            open_since["disk", event.who] = event
        elif event.kind == "calm":
            for kind, who in [key for key in open_since if key[0] == "disk"]:
                yield from closed(kind, who, event.at_ms)
    for kind, who in list(open_since):
        yield from closed(kind, who, ends_ms)
