"""Claims about the lines on final blocks: each block is counted once, and fast ones share a line."""

from structlog.testing import capture_logs

from prsm_node.observability.block_log import TELL_S, BlockLog


def lines(pace_s: float, count: int) -> list[tuple[int, int, int, int, int]]:
    now_s = [0.0]
    blocks = BlockLog(lambda: now_s[0])
    with capture_logs() as told:
        for height in range(1, count + 1):
            blocks.add(height, 2, round_=int(height == 3), digest=bytes(32), late_ms=height)
            now_s[0] += pace_s
    shown = [line for line in told if line["log_level"] == "info"]
    return [
        (line["height"], line["blocks"], line["transactions"], line["later_rounds"], line["late_ms"])
        for line in shown
    ]


def test_slow_blocks_have_a_line_each() -> None:
    assert lines(pace_s=TELL_S, count=3) == [(1, 1, 2, 0, 1), (2, 1, 2, 0, 2), (3, 1, 2, 1, 3)]


def test_fast_blocks_are_told_of_together() -> None:
    assert lines(pace_s=TELL_S / 8, count=20) == [(1, 1, 2, 0, 1), (9, 8, 16, 1, 9), (17, 8, 16, 0, 17)]
