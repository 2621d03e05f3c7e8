"""Log lines on their way out: one thread writes them, so that no full pipe or slow disk stalls the daemon.

A line waits at most FLUSH_S, one at warning or above not at all. What can't be kept up with is dropped and
counted, and the count is said.
"""

import os
import threading
from pathlib import Path
from typing import Final, Protocol

FLUSH_S: Final = 0.5
# Some 40,000 lines: a paused terminal, or a disk that is slow for seconds. The newest are lost, since
# the first lines of a flood say what began it.
WAITING_BYTES_MAX: Final = 8 * 2**20
CLOSED: Final = -1


class Stream(Protocol):
    """What the writer needs of stderr."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...


class RotatedFile:
    """An append-only file that is renamed to `.1` before it outgrows `bytes_max`, `.1` to `.2`, and so on."""

    def __init__(self, path: Path, bytes_max: int, files: int) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._files = files
        self._handle = CLOSED
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._handle).st_size

    def write(self, data: bytes) -> None:
        """Append whole lines; raise OSError."""
        if self._handle == CLOSED:
            self._open()
        if self._size and self._size + len(data) > self._bytes_max:
            self._rotate()
        view = memoryview(data)
        while view:
            written = os.write(self._handle, view)
            self._size += written
            view = view[written:]

    def _rotate(self) -> None:
        self.close()
        names = [
            self._path,
            *(self._path.with_name(f"{self._path.name}.{i + 1}") for i in range(self._files)),
        ]
        try:
            for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
                if newer.exists():
                    newer.replace(older)
            if not self._files:
                self._path.unlink()
        finally:
            self._open()

    def close(self) -> None:
        if self._handle != CLOSED:
            os.close(self._handle)
            # The number may soon be another file's: a stale one would write lines into the journal.
            self._handle = CLOSED


class LogWriter:
    """Takes lines from any thread and writes them from its own."""

    def __init__(self, stream: Stream | None, file: RotatedFile | None, repeat: bool = True) -> None:
        """Without `repeat` the stream gets only what the file could not take."""
        self._stream = stream
        self._file = file
        self._repeat = repeat
        self._waiting: list[tuple[str, str]] = []
        self._waiting_bytes = 0
        self._urgent = False
        self._ended = False
        self.lost = 0
        """Lines dropped so far, because too many waited or because the disk refused them."""
        self._said_lost = 0
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def add(self, stream_line: str, file_line: str, urgent: bool) -> None:
        """Queue one line, in its form for the stream and for the file, each ending in a line feed."""
        with self._changed:
            if self._waiting_bytes > WAITING_BYTES_MAX or self._ended:
                self.lost += 1
                return
            self._waiting.append((stream_line, file_line))
            self._waiting_bytes += len(stream_line) + len(file_line)
            if urgent or len(self._waiting) == 1:
                self._urgent = self._urgent or urgent
                self._changed.notify()

    def flush(self) -> None:
        """Write what waits, from the calling thread."""
        with self._writing:
            with self._changed:
                lines, self._waiting, self._waiting_bytes, self._urgent = self._waiting, [], 0, False
                lost, self._said_lost = self.lost - self._said_lost, self.lost
            if lost:
                notice = f"{lost} log lines were lost: more came than could be written\n"
                lines.append((notice, notice))
            if lines:
                self._write(lines)

    def _write(self, lines: list[tuple[str, str]]) -> None:
        kept = False
        if self._file is not None:
            try:
                self._file.write("".join(line for _, line in lines).encode("utf-8", "backslashreplace"))
                kept = True
            except OSError as error:
                self.lost += len(lines)
                notice = f"the log file can't be written: {error.strerror}\n"
                lines.append((notice, notice))
        if self._stream is not None and (self._repeat or not kept):
            try:
                self._stream.write("".join(line for line, _ in lines))
                self._stream.flush()
            except (OSError, ValueError):
                # The terminal has gone; a daemon outlives it, and its file has the lines.
                self._stream = None

    def close(self) -> None:
        """Write what waits and end the thread; later lines are lost."""
        with self._changed:
            if self._ended:
                return
            self._ended = True
            self._changed.notify()
        self._thread.join()
        self.flush()
        if self._file is not None:
            self._file.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                self._changed.wait_for(lambda: self._urgent or self._ended, timeout=FLUSH_S)
                ended = self._ended
            self.flush()
            if ended:
                return
