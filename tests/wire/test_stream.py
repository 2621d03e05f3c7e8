"""A stream is cut into frames however its bytes arrive, within bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsm_node.wire.frames import FRAME_BYTES_MIN, FrameRejected, Reason
from prsm_node.wire.kinds import FRAME_BYTES_MAX
from prsm_node.wire.stream import FrameSplitter, on_stream


@given(st.lists(st.integers(FRAME_BYTES_MIN, 600), max_size=8), st.lists(st.integers(1, 400), max_size=30))
def test_frames_come_out_whole_whatever_pieces_they_came_in(lengths: list[int], cuts: list[int]) -> None:
    frames = [bytes((index % 256,)) * length for index, length in enumerate(lengths)]
    stream = b"".join(map(on_stream, frames))
    splitter = FrameSplitter()
    out: list[bytes] = []
    for cut in [*cuts, len(stream)]:
        out += splitter.feed(stream[:cut])
        stream = stream[cut:]
    assert out == frames
    assert splitter.unfinished_bytes == 0


@pytest.mark.parametrize(
    ("length", "reason"),
    [
        (FRAME_BYTES_MAX + 1, Reason.OVERSIZED),
        (2**32 - 1, Reason.OVERSIZED),
        (FRAME_BYTES_MIN - 1, Reason.TRUNCATED),
        (0, Reason.TRUNCATED),
    ],
)
def test_an_impossible_length_ends_the_stream_after_the_frames_before_it(length: int, reason: Reason) -> None:
    frame = bytes(FRAME_BYTES_MIN)
    out = []
    pieces = FrameSplitter().feed(on_stream(frame) + length.to_bytes(4, "big") + b"rest")
    out.append(next(pieces))
    with pytest.raises(FrameRejected) as caught:
        next(pieces)
    assert caught.value.reason is reason
    assert out == [frame]


def test_an_unfinished_frame_holds_no_more_than_its_length() -> None:
    splitter = FrameSplitter()
    assert list(splitter.feed(FRAME_BYTES_MAX.to_bytes(4, "big") + bytes(1_000))) == []
    for _ in range(15):
        assert list(splitter.feed(bytes(65_536))) == []
    assert splitter.unfinished_bytes <= FRAME_BYTES_MAX + 4
    assert [len(frame) for frame in splitter.feed(bytes(64_536))] == [FRAME_BYTES_MAX]
