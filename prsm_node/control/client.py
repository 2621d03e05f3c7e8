"""A blocking client of the control socket, for commands: quick to import, no trio, no libp2p.

Every read has a deadline. One request at a time; what needs many in flight speaks protocol.py itself.
"""

import shlex
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from prsm_node.control.protocol import (
    SOCKET_NAME,
    ControlError,
    Kind,
    MalformedMessage,
    Refusal,
    Response,
    Splitter,
    decode_response,
    framed,
    short_path,
)
from prsm_node.unreadable import UNREADABLE

T = TypeVar("T")
ANSWER_S = 10.0
RECEIVE_BYTES = 1 << 16


class NoDaemon(ControlError):
    """Nothing answers at this home."""


def connected_socket(path: Path, timeout_s: float) -> socket.socket:
    """Connect to a control socket. Raise NoDaemon where nothing listens."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(timeout_s)
    try:
        with short_path(path) as address:
            link.connect(address)
    except OSError as error:
        link.close()
        if isinstance(error, PermissionError):
            raise NoDaemon(
                "forbidden", f"{path} belongs to another user; run this as the daemon's user"
            ) from None
        raise NoDaemon(
            "no_daemon",
            f"no daemon answers at {path}; "
            f"start one with: prsm-node --home {shlex.quote(str(path.parent))} start",
        ) from None
    return link


class Client:
    """One connection to the daemon of a home. Raise NoDaemon where none answers."""

    def __init__(self, home: Path, timeout_s: float = ANSWER_S) -> None:
        self._path = home / SOCKET_NAME
        self._timeout_s = timeout_s
        self._socket = connected_socket(self._path, timeout_s)
        self._splitter = Splitter()
        self._arrived: list[Response] = []
        self._id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def ask(self, method: str, answer: type[T], timeout_s: float | None = None, /, **params: Any) -> T:
        """Send a request and return its result as an `answer`. Raise ControlError, `timed_out` among them."""
        for kind, payload in self.stream(method, timeout_s, **params):
            if kind is Kind.RESULT:
                return msgspec.msgpack.decode(payload, type=answer)
        raise AssertionError("a stream ends with a result or raises")

    def stream(
        self, method: str, timeout_s: float | None = None, /, **params: Any
    ) -> Iterator[tuple[Kind, msgspec.Raw]]:
        """Yield events, then the result. `timeout_s` is from one response to the next."""
        self._id += 1
        wait_s = self._timeout_s if timeout_s is None else timeout_s
        self._socket.settimeout(None if wait_s == float("inf") else wait_s)
        try:
            # Who was refused its connection finds it closed, and the reason waiting to be read.
            with suppress(BrokenPipeError):
                self._socket.sendall(framed((self._id, method, params)))
            while True:
                response = self._next_response()
                if response.kind is Kind.ERROR:
                    refusal = msgspec.msgpack.decode(response.payload, type=Refusal)
                    raise ControlError(refusal.code, refusal.message)
                if response.id != self._id:
                    continue
                yield response.kind, response.payload
                if response.kind is Kind.RESULT:
                    return
        except TimeoutError:
            raise ControlError(
                "timed_out",
                f"the daemon at {self._path} did not answer `{method}` in {wait_s:g} s; "
                "prsm-node logs says what it does",
            ) from None
        except OSError as error:
            raise NoDaemon("gone", f"the daemon at {self._path} went away: {error.strerror}") from None
        except (MalformedMessage, *UNREADABLE) as error:
            raise ControlError("malformed", f"the daemon at {self._path} answered {error}") from None

    def _next_response(self) -> Response:
        while not self._arrived:
            received = self._socket.recv(RECEIVE_BYTES)
            if not received:
                raise NoDaemon("gone", f"the daemon at {self._path} closed the connection")
            self._arrived.extend(decode_response(message) for message in self._splitter.feed(received))
        return self._arrived.pop(0)
