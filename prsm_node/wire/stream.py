"""Frames on a stream: a length of four bytes, big-endian, then the frame.

Reads come in any pieces; a splitter holds at most one unfinished frame, so its memory is bounded by
FRAME_BYTES_MAX and one read. A length above the bound is refused before any of its bytes are kept.
"""

from collections.abc import Iterator

from prsm_node.wire.frames import FRAME_BYTES_MIN, FrameRejected, Reason
from prsm_node.wire.kinds import FRAME_BYTES_MAX

LENGTH_BYTES = 4


def on_stream(frame: bytes) -> bytes:
    """Return the frame as a stream carries it."""
    assert FRAME_BYTES_MIN <= len(frame) <= FRAME_BYTES_MAX, f"no frame has {len(frame)} bytes"
    return len(frame).to_bytes(LENGTH_BYTES, "big") + frame


class FrameSplitter:
    """Cuts a stream into frames."""

    def __init__(self) -> None:
        self._rest = b""
        # A frame in several pieces is put together once, when its last one is here.
        self._pieces: list[bytes] = []
        self._missing = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give the frames that `data` completes; go through them all before the next call.

        Raise FrameRejected where a length is impossible: nothing after it on the stream can be read.
        """
        if self._missing:
            self._pieces.append(data)
            if len(data) < self._missing:
                self._missing -= len(data)
                return
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._missing = 0
        elif self._rest:
            data = self._rest + data
        self._rest = b""
        start, end = 0, len(data)
        while end - start >= LENGTH_BYTES:
            length = int.from_bytes(data[start : start + LENGTH_BYTES], "big")
            if length > FRAME_BYTES_MAX:
                raise FrameRejected(
                    Reason.OVERSIZED, f"a length of {length}; at most {FRAME_BYTES_MAX} is allowed"
                )
            if length < FRAME_BYTES_MIN:
                raise FrameRejected(
                    Reason.TRUNCATED, f"a length of {length}; a frame has {FRAME_BYTES_MIN} or more"
                )
            stop = start + LENGTH_BYTES + length
            if stop > end:
                self._pieces.append(data[start:])
                self._missing = stop - end
                return
            yield data[start + LENGTH_BYTES : stop]
            start = stop
        self._rest = data[start:]

    @property
    def unfinished_bytes(self) -> int:
        """How many bytes are held of a frame that is not complete."""
        return len(self._rest) + sum(map(len, self._pieces))
