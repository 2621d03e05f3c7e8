"""The picture of a chaos run: one HTML file with nothing from outside, heights and finality over time, faults
shaded, and a lane for each node that says what was done to it."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from prsm_node.chaos.report import FaultReport, Report, told

WIDTH: Final = 1_200
LEFT, RIGHT = 70, 20
HEIGHT: Final = 220
LANE: Final = 18
GAP: Final = 34
COLOURS: Final = ("#1b6ca8", "#c8553d", "#3a7d44", "#8e5ea2", "#b08900", "#555555", "#00838f", "#ad1457")
FAULT_COLOURS: Final = {"kill": "#d64545", "pause": "#e0a526", "partition": "#4c7ad6", "slow": "#8a8a8a"}
TICKS: Final = 10

Point = tuple[float, float]

STYLE: Final = """
body { font: 14px system-ui, sans-serif; margin: 2em auto; max-width: 1240px; color: #222; background: #fff }
svg { width: 100%; height: auto } text { font-size: 12px; fill: #444 }
table { border-collapse: collapse; margin-top: 1em } td, th { padding: 2px 10px; text-align: left }
tr:nth-child(even) { background: #f4f4f4 } .bad { color: #b00020; font-weight: bold }
"""


def page(
    report: Report,
    heights: Sequence[tuple[float, Sequence[int]]],
    slowest: Mapping[int, float],
    names: Sequence[str],
) -> str:
    """Return the file's text. `heights` are of all nodes at a time; `slowest`: the longest that a transfer
    which became final in that second of the run took, ms."""
    seconds = max([report.seconds, 1.0, *(float(second) for second in slowest)])
    drawing = _Drawing(seconds, report.faults)
    drawing.panel(
        "height",
        [[(at, float(of[place])) for at, of in heights] for place in range(len(names))],
    )
    drawing.panel("slowest finality, ms", [sorted((float(s), ms) for s, ms in slowest.items())], zero=True)
    drawing.panel("memory, MB", [list(memory.series) for memory in report.memory], zero=True)
    drawing.lanes(names)
    title = f"Chaos: {report.scenario}, seed {report.seed}"
    rows = "".join(
        f"<tr><th>{escape(label)}</th><td{_class(label)}>{escape(str(text))}</td></tr>"
        for label, text in told(report)
    )
    faults = "".join(
        f"<tr><td>{f.at_s:.1f} s</td><td>{escape(f.kind)}</td><td>{f.healed_s - f.at_s:.1f} s</td>"
        f"<td>{escape(f.about)}</td><td>{escape(_times(f))}</td></tr>"
        for f in report.faults
    )
    legend = " &nbsp; ".join(
        f'<span style="color:{COLOURS[i % len(COLOURS)]}">&#9632;</span> {escape(name)}'
        for i, name in enumerate(names)
    )
    shades = " &nbsp; ".join(
        f'<span style="color:{colour}">&#9632;</span> {kind}' for kind, colour in FAULT_COLOURS.items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{escape(title)}</h1><p>{legend}</p><p>Shaded: {shades}; lighter until "
        f"all nodes were at a new block with equal roots.</p>{drawing.svg()}<table>{rows}</table>"
        "<h2>Faults</h2><table><tr><th>at</th><th>kind</th><th>for</th><th>what</th><th>back after</th></tr>"
        f"{faults}</table></html>\n"
    )


def _class(label: str) -> str:
    return ' class="bad"' if label == "BROKEN" else ""


def _times(fault: FaultReport) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {seconds:.2f} s" for name, seconds in fault.recovery.items())


class _Drawing:
    """Panels below each other over one axis of time."""

    def __init__(self, seconds: float, faults: Sequence[FaultReport]) -> None:
        last = max([seconds, *(f.recovered_s or f.healed_s for f in faults)])
        self._scale = (WIDTH - LEFT - RIGHT) / last
        self._seconds = last
        self._faults = faults
        self._parts: list[str] = []
        self._top = 10.0

    def panel(self, label: str, series: Sequence[Sequence[Point]], zero: bool = False) -> None:
        """Draw lines, one a series, with faults shaded behind them."""
        values = [value for points in series for _, value in points]
        low = 0.0 if zero else min(values, default=0.0)
        high = max(max(values, default=1.0), low + 1.0)
        top, bottom = self._top, self._top + HEIGHT

        def y(value: float) -> float:
            return bottom - (value - low) / (high - low) * HEIGHT

        for fault in self._faults:
            until = fault.recovered_s or self._seconds
            self._shade(fault, fault.at_s, fault.healed_s, top, HEIGHT, 0.30)
            self._shade(fault, fault.healed_s, until, top, HEIGHT, 0.10)
        for share in (0.0, 0.5, 1.0):
            value = low + share * (high - low)
            self._parts.append(
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" '
                f'y2="{y(value):.1f}" stroke="#ddd"/>'
                f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,.0f}</text>'
            )
        for place, points in enumerate(series):
            path = " ".join(f"{self._x(at):.1f},{y(value):.1f}" for at, value in points)
            colour = COLOURS[place % len(COLOURS)]
            self._parts.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
            )
        self._parts.append(f'<text x="{LEFT}" y="{top - 1:.1f}">{escape(label)}</text>')
        self._top = bottom + GAP

    def lanes(self, names: Sequence[str]) -> None:
        """Draw a lane for each node, with what was done to it, and the axis below."""
        for place, name in enumerate(names):
            self._parts.append(
                f'<text x="{LEFT - 6}" y="{self._top + LANE - 5:.1f}" text-anchor="end">{escape(name)}</text>'
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self._top + LANE / 2:.1f}" '
                f'y2="{self._top + LANE / 2:.1f}" stroke="#ddd"/>'
            )
            for fault in self._faults:
                if not fault.nodes or place in fault.nodes:
                    self._shade(fault, fault.at_s, fault.healed_s, self._top + 2, LANE - 4, 0.85)
            self._top += LANE
        for tick in range(TICKS + 1):
            at = self._seconds * tick / TICKS
            self._parts.append(
                f'<text x="{self._x(at):.1f}" y="{self._top + 16:.1f}" text-anchor="middle">'
                f"{at:,.0f} s</text>"
            )
        self._top += GAP

    def svg(self) -> str:
        return f'<svg viewBox="0 0 {WIDTH} {self._top:.0f}" role="img">{"".join(self._parts)}</svg>'

    def _shade(
        self, fault: FaultReport, begin: float, end: float, top: float, height: float, opacity: float
    ) -> None:
        width = max(1.0, (end - begin) * self._scale)
        self._parts.append(
            f'<rect x="{self._x(begin):.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'fill="{FAULT_COLOURS[fault.kind]}" opacity="{opacity}"><title>{escape(fault.kind)} '
            f"{escape(fault.about)}: {escape(_times(fault))}</title></rect>"
        )

    def _x(self, at: float) -> float:
        return LEFT + at * self._scale
