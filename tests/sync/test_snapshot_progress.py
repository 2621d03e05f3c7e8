"""How far a snapshot is, in numbers and in a sentence."""

from prsm_node.progress_bar import bar
from prsm_node.sync.snapshot_progress import Phase, Progress


def test_the_rate_and_the_time_left_follow_what_came_lately_and_not_what_was_here() -> None:
    now = 100.0
    progress = Progress(lambda: now)
    assert progress.view().sentence() == "looking for peers that offer a snapshot"
    progress.enter(Phase.FETCHING, 40, 100_000_000, 20_000_000)
    for second in range(1, 5):
        now = 100.0 + second
        progress.add(10_000_000)
    view = progress.view()
    assert (view.bytes_done, view.resumed_bytes, view.bytes_per_s) == (60_000_000, 20_000_000, 10_000_000)
    assert view.seconds_left == 4.0
    assert view.sentence() == "snapshot of height 40: fetching 60% of 100.0 MB, 10.0 MB/s, 4 s left"
    line = bar(view.bytes_done / view.bytes_total, view.sentence())
    assert line.startswith("[##############..........] snapshot of height 40")
    progress.enter(Phase.RESTORING, 40, 100)
    view = progress.view()
    assert (view.bytes_per_s, view.seconds_left, view.resumed_bytes) == (0.0, None, 20_000_000)
    assert view.sentence() == "snapshot of height 40: restoring 0%"
