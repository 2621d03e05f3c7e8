"""A run of whole daemons as text: a line for each message, with all whom it went to, and each fault."""

from collections.abc import Iterator, Sequence

from consensus.simulation import timeline
from consensus.simulation.cluster import Event
from consensus.simulation.run import Verdict
from consensus.simulation.timeline import Said
from prsm_node.simulation.trace import UNARRIVED

LINES_MAX = 10_000
"""Of a longer run the last are kept."""
LINE_MAX = 240


def lines(verdict: Verdict, trace: Sequence[Event]) -> Iterator[str]:
    """What happened, from the cluster that was drawn to the verdict."""
    events = sorted(_merged(trace), key=lambda event: event.at_ms)
    first, *rest = timeline.lines(verdict, events[-LINES_MAX:])
    yield first
    yield "who sends what > to whom, and after how many ms it came there; - where it did not"
    if len(events) > LINES_MAX:
        yield f"left out: {len(events) - LINES_MAX} lines before {events[-LINES_MAX].at_ms:.3f}"
    yield from (line if len(line) <= LINE_MAX else f"{line[:LINE_MAX]} ..." for line in rest)


def _merged(trace: Sequence[Event]) -> Iterator[Event]:
    """What was said to several at once is told once, where it left."""
    heard: dict[tuple[float, str, Said], list[str]] = {}
    for event in trace:
        if not isinstance(event.what, Said):
            yield event
            continue
        source, _, to = event.who.partition(" > ")
        took = "-" if event.kind == UNARRIVED else f"{event.at_ms - event.sent_ms:.0f}"
        heard.setdefault((event.sent_ms, source, event.what), []).append(f"{to} {took}")
    for (sent_ms, source, what), peers in heard.items():
        yield Event(sent_ms, "sends", source, f"{what} > {', '.join(sorted(peers))}")
