"""Rates and time left while catching up, as people and programs read them."""

import pytest

from prsm_node.control.views import SyncView, left
from prsm_node.progress_bar import bar
from prsm_node.sync.progress import WINDOW_S, Progress


def test_a_steady_rate_gives_the_time_left() -> None:
    progress = Progress()
    assert progress.seconds_left(0.0, 0, 1_000) is None, "nothing can be said yet"
    for second in range(31):
        progress.note(float(second), second * 100)
    assert progress.per_second(30.0, 3_000) == pytest.approx(100.0)
    assert progress.seconds_left(30.0, 3_000, 1_000) == pytest.approx(10.0)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    progress = Progress()
    for second in range(60):
        progress.note(float(second), second * 1_000 if second < 30 else 30_000)
    assert progress.per_second(59.0, 30_000) == 0.0
    assert progress.seconds_left(59.0, 30_000, 1) is None
    progress.begin()
    assert progress.per_second(59.0, 30_000) == 0.0
    assert WINDOW_S < 30


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (119, "119 s"), (120, "2 min 0 s"), (7_199, "119 min 59 s"), (90_061, "25 h 1 min")],
)
def test_a_time_to_come_is_told_in_the_units_that_matter(seconds: float, text: str) -> None:
    assert left(seconds) == text


def test_a_line_for_a_terminal_fits_it() -> None:
    view = SyncView("blocks", 12_345_678, 123_456_789, 1_234.5, 90_000.0, 4)
    line = bar(view.done / view.total, view.sentence())
    assert line.startswith("[##......................] catching up: blocks 12,345,678 of 123,456,789")
    assert "25 h 0 min left" in line
    assert "left" not in SyncView("headers", 0, 5, 0.0, None, 0).sentence()
    assert bar(7.0, "") == "[########################] "
