"""Logs: events with fields, readable on a terminal, JSON for machines, in H/logs/daemon.log in either case.

A room says `log = structlog.get_logger("mempool")` and `log.info("batch closed", transactions=12)`: what
happened in the past tense, what it happened to in fields, units in their names. Secrets are taken out here
whatever a room hands over, bytes become hexadecimal, and nothing that a peer sent can end a line or move a
cursor.
"""

import atexit
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, MutableMapping
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TextIO

import msgspec
import structlog

from prsm_node.config import LogSettings
from prsm_node.identity.keystore import EXPORT_PREFIX
from prsm_node.observability.log_writer import LogWriter, RotatedFile

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
SECRET_NAMES: Final = ("seed", "passphrase", "password", "secret", "private", "mnemonic", "token")
REDACTED: Final = "[redacted]"
FIELD_CHARACTERS_MAX: Final = 2_000
"""Of one text field; a traceback may have more."""
TRACEBACK_CHARACTERS_MAX: Final = 20_000

COLOURS: Final = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
BOLD, FAINT, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"

Event = MutableMapping[str, Any]


class RoomLogger:
    """What structlog hands rendered lines to; `room` is the name that get_logger was called with."""

    def __init__(self, writer: LogWriter, room: str) -> None:
        self.room = room
        self._writer = writer

    def msg(self, stream_line: str, file_line: str, urgent: bool) -> None:
        self._writer.add(stream_line, file_line, urgent)

    debug = info = warning = error = critical = exception = msg


def configure(
    settings: LogSettings,
    file: Path | None,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.time,
) -> LogWriter:
    """Send the logs of this process to `stream` (stderr unless told otherwise) and `file`; raise OSError.

    Close the returned writer when done; at the end of the process it closes itself.
    """
    stream = stream if stream is not None else sys.stderr
    rotated = (
        RotatedFile(file, settings.file_mb_max * 1_000_000, settings.files) if file is not None else None
    )
    writer = LogWriter(stream, rotated, settings.stderr)
    atexit.register(writer.close)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _exception_as_text,
            _without_secrets,
            Renderer(settings.json, coloured(stream), clock),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[settings.level]),
        logger_factory=lambda *names: RoomLogger(writer, names[0] if names else "node"),
        cache_logger_on_first_use=True,
    )
    _take_over_standard_logging(max(LEVELS[settings.level], logging.WARNING))
    return writer


def coloured(stream: TextIO, environment: MutableMapping[str, str] = os.environ) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR (https://no-color.org) is set to anything."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


class Renderer:
    """The last processor: a line for the stream and one for the file."""

    def __init__(self, json: bool, colours: bool, clock: Callable[[], float]) -> None:
        self._json = json
        self._colours = colours
        self._clock = clock
        self._encode = msgspec.json.Encoder(enc_hook=str).encode
        self._second = -1
        self._second_text = ""

    def __call__(
        self, logger: RoomLogger, level: str, event: Event
    ) -> tuple[tuple[str, str, bool], dict[str, Any]]:
        level = "error" if level == "exception" else level
        now = self._time()
        urgent = LEVELS[level] >= LEVELS["warning"]
        if self._json:
            line = self._json_line(now, level, logger.room, event)
            return (line, line, urgent), {}
        plain = text_line(now, level, logger.room, event, colours=False)
        shown = text_line(now, level, logger.room, event, colours=True) if self._colours else plain
        return (shown, plain, urgent), {}

    def _time(self) -> str:
        """RFC 3339 in UTC; the part down to the second is made once a second."""
        second, millisecond = divmod(int(self._clock() * 1_000), 1_000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{millisecond:03}Z"

    def _json_line(self, now: str, level: str, room: str, event: Event) -> str:
        head = {"time": now, "level": level, "room": room, "event": event.get("event", "")}
        fields = {
            **head,
            **event,
            **head,
        }  # first in order, and not to be replaced by a field of the same name
        try:
            return self._encode(fields).decode() + "\n"
        except (TypeError, ValueError, OverflowError, RecursionError):
            return self._encode({name: str(value) for name, value in fields.items()}).decode() + "\n"


def text_line(now: str, level: str, room: str, event: Event, colours: bool) -> str:
    """Return `12:00:00.250 info    consensus  block decided  height=7 transactions=12`."""
    lines = str(event.get("traceback", ""))
    told = f"{_shown(event.get('event', '')):<24}"
    if colours:
        fields = " ".join(
            f"{FAINT}{k}={PLAIN}{_shown(v)}" for k, v in event.items() if k not in ("event", "traceback")
        )
        head = f"{FAINT}{now[11:-1]}{PLAIN} {COLOURS.get(level, COLOURS['error'])}{level:<7}{PLAIN}"
        return f"{head} {room:<10} {BOLD}{told}{PLAIN} {fields}".rstrip() + "\n" + _indented(lines)
    fields = " ".join(f"{k}={_shown(v)}" for k, v in event.items() if k not in ("event", "traceback"))
    return f"{now} {level:<7} {room:<10} {told} {fields}".rstrip() + "\n" + _indented(lines)


def _shown(value: Any) -> str:
    """A value as it is where it is printable, as an escaped literal where it is not."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else str(value)
    return text if text.isprintable() else ascii(text)


def _indented(lines: str) -> str:
    shown = (line if line.isprintable() else ascii(line) for line in lines.splitlines())
    return "".join(f"    {line}\n" for line in shown)


@lru_cache(maxsize=1_024)
def _is_secret(name: str) -> bool:
    return any(part in name.lower() for part in SECRET_NAMES)


def _without_secrets(logger: RoomLogger, level: str, event: Event) -> Event:
    for name, value in event.items():
        if type(value) is int:
            continue
        event[name] = REDACTED if _is_secret(name) else _harmless(value, name == "traceback")
    return event


def _harmless(value: Any, long: bool = False) -> Any:
    """Bytes in hexadecimal, texts bounded and without exported keys, what is nested treated alike."""
    if isinstance(value, str):
        if EXPORT_PREFIX in value:
            return REDACTED
        limit = TRACEBACK_CHARACTERS_MAX if long else FIELD_CHARACTERS_MAX
        return value if len(value) <= limit else f"{value[:limit]}... ({len(value)} characters)"
    if isinstance(value, bytes | bytearray | memoryview):
        return _harmless(bytes(value[: FIELD_CHARACTERS_MAX // 2]).hex())
    if isinstance(value, dict):
        return {str(k): REDACTED if _is_secret(str(k)) else _harmless(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(item) for item in value]
    if isinstance(value, int | float | bool | None):
        return value
    return _harmless(str(value))


ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def _exception_as_text(logger: RoomLogger, level: str, event: Event) -> Event:
    found = event.pop("exc_info", None)
    if not found:
        return event
    error = (
        found
        if isinstance(found, BaseException)
        else found[1]
        if isinstance(found, tuple)
        else sys.exc_info()[1]
    )
    if error is not None:
        event["traceback"] = "".join(traceback.format_exception(error)).rstrip()
    return event


class _Bridge(logging.Handler):
    """Libraries log through the standard library; their warnings become events of the room `library`."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = "error" if record.levelno >= logging.ERROR else "warning"
            log = structlog.get_logger("library")
            log.log(LEVELS[level], record.getMessage(), module=record.name, exc_info=record.exc_info or None)
        except Exception:  # a library's faulty format string must not end what it complained about
            self.handleError(record)


def _take_over_standard_logging(level: int) -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(level))
