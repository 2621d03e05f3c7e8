"""Claims about logs: what is never in them, how they look, and that writing them stalls nobody."""

import io
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import structlog

from prsm_node.config import LogSettings
from prsm_node.identity import keystore
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.identity.passphrases import Passphrase
from prsm_node.observability import log_writer, logs
from prsm_node.observability.log_writer import LogWriter, RotatedFile

NOON_S = 1_769_860_800.25  # 2026-01-31T12:00:00.250Z


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Told:
    """A configured log whose output the test reads."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "logs" / "daemon.log"
        self.stream = io.StringIO()
        self.writer: LogWriter | None = None

    def configure(self, settings: LogSettings | None = None) -> structlog.stdlib.BoundLogger:
        settings = settings or LogSettings()
        self.writer = logs.configure(settings, self.file, self.stream, clock=lambda: NOON_S)
        log: structlog.stdlib.BoundLogger = structlog.get_logger("consensus")
        return log

    def text(self) -> str:
        assert self.writer is not None
        self.writer.flush()
        assert self.file.read_text() == self.stream.getvalue()
        return self.stream.getvalue()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        structlog.reset_defaults()
        root = logging.getLogger()
        for handler in [h for h in root.handlers if type(h).__module__ == logs.__name__]:
            root.removeHandler(handler)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    told = Told(tmp_path)
    yield told
    told.close()


def test_an_event_is_one_readable_line(told: Told) -> None:
    told.configure().info("block decided", height=7, hash=b"\x01\x02", took_ms=12.34567)
    fields = "height=7 hash=0102 took_ms=12.3457"
    line = f"2026-01-31T12:00:00.250Z info    consensus  block decided            {fields}"
    assert told.text() == line + "\n"


def test_an_event_is_one_json_object_for_machines(told: Told) -> None:
    told.configure(LogSettings(json=True)).warning("peer dropped", peer="a", level="mine", beyond=2**70)
    assert msgspec.json.decode(told.text()) | {"beyond": 0} == {
        "time": "2026-01-31T12:00:00.250Z",
        "level": "warning",
        "room": "consensus",
        "event": "peer dropped",
        "peer": "a",
        "beyond": 0,
    }


@pytest.mark.parametrize("as_json", [False, True])
def test_no_secret_is_ever_in_them(told: Told, as_json: bool) -> None:
    key, passphrase = SigningKey.generate(), "correct horse battery"
    log = told.configure(LogSettings(json=as_json, level="debug"))
    exported = keystore.export_text(key)
    log.info("keys", key=key, seed=key.seed(), node_seed=key.seed().hex(), passphrase=passphrase)
    log.info("nested", settings={"passphrase": passphrase, "deep": [{"PRIVATE_KEY": key.seed().hex()}]})
    log.info("pasted", text=f"import {exported}", opened=Passphrase(passphrase))
    log.info(f"in the event itself {exported}", parts=(exported,))
    text = told.text()
    assert key.public.hex() in text
    for secret in (key.seed().hex(), passphrase, exported, repr(key.seed())):
        assert secret not in text


def test_what_a_peer_sent_ends_no_line_and_moves_no_cursor(told: Told) -> None:
    told.configure().info("peer said", agent="x\n2026 error forged\x1b[2J", long="y" * 10_000)
    text = told.text()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert len(text) < 3_000


def test_an_exception_comes_with_its_traceback_indented_below(told: Told) -> None:
    log = told.configure()
    try:
        raise ValueError("bad\x1b")
    except ValueError:
        log.exception("handler failed", peer="a")
    lines = told.text().splitlines()
    assert lines[0].endswith("handler failed           peer=a")
    assert lines[1] == "    Traceback (most recent call last):"
    assert "\x1b" not in lines[-1]


def test_the_level_silences_what_is_below_it(told: Told) -> None:
    log = told.configure(LogSettings(level="warning"))
    log.info("not this")
    log.warning("this")
    assert "not this" not in told.text()
    assert "this" in told.text()


def test_libraries_that_use_the_standard_library_are_heard_from_warnings_on(told: Told) -> None:
    told.configure()
    logging.getLogger("somelibrary").info("chatter")
    logging.getLogger("somelibrary").warning("trouble with %s", "a peer")
    text = told.text()
    assert "chatter" not in text
    assert "library    trouble with a peer" in text


@pytest.mark.parametrize(
    ("stream", "environment", "expected"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    stream: io.StringIO, environment: dict[str, str], expected: bool
) -> None:
    assert logs.coloured(stream, environment) is expected


def test_a_line_reaches_the_file_without_anybody_flushing(told: Told) -> None:
    log = told.configure()
    for level, word in (("info", "quiet"), ("warning", "loud")):
        log.log(logs.LEVELS[level], word)
        deadline = time.monotonic() + 10
        while word not in told.file.read_text():
            assert time.monotonic() < deadline, f"{word} was not written"
            time.sleep(0.02)


def test_the_file_is_rotated_before_it_outgrows_its_bound(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "daemon.log", bytes_max=100, files=2)
    for i in range(10):
        file.write(f"{i}".encode() * 59 + b"\n")
    file.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["daemon.log", "daemon.log.1", "daemon.log.2"]
    assert [(tmp_path / name).read_text()[0] for name in names] == ["9", "8", "7"]


def test_more_than_can_be_written_is_dropped_counted_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "WAITING_BYTES_MAX", 1_000)
    stream = io.StringIO()
    writer = LogWriter(stream, None)
    with writer._writing:  # as a stalled terminal would hold it
        for _ in range(1_000):
            writer.add("a line\n", "a line\n", urgent=False)
        lost = writer.lost
    writer.close()
    assert lost > 800
    assert f"{lost} log lines were lost" in stream.getvalue()
    assert len(stream.getvalue()) < 2_100


def test_a_full_disk_and_a_closed_terminal_end_nothing(tmp_path: Path) -> None:
    class Full(RotatedFile):
        def write(self, data: bytes) -> None:
            raise OSError(28, "No space left on device")

    stream = io.StringIO()
    writer = LogWriter(stream, Full(tmp_path / "daemon.log", 1_000, 1))
    writer.add("kept\n", "kept\n", urgent=True)
    writer.flush()
    assert writer.lost == 1
    assert "the log file can't be written: No space left on device" in stream.getvalue()
    stream.close()
    writer.add("gone\n", "gone\n", urgent=True)
    writer.close()


def test_a_stream_that_need_not_repeat_the_file_gets_what_the_file_could_not_take(tmp_path: Path) -> None:
    class Filling(RotatedFile):
        def write(self, data: bytes) -> None:
            if b"late" in data:
                raise OSError(28, "No space left on device")
            super().write(data)

    stream = io.StringIO()
    writer = LogWriter(stream, Filling(tmp_path / "daemon.log", 1_000, 1), repeat=False)
    writer.add("in time\n", "in time\n", urgent=True)
    writer.flush()
    assert (stream.getvalue(), (tmp_path / "daemon.log").read_text()) == ("", "in time\n")
    writer.add("late\n", "late\n", urgent=True)
    writer.close()
    assert "late" in stream.getvalue()
    assert "can't be written" in stream.getvalue()
