"""Framing on the control socket: a 4-byte big-endian length, then one msgpack message of at most 1 MiB.

A request is [id, method, params]; a response [id, kind, payload]: an ERROR or a RESULT is the last one for
its id, an EVENT says that more follow. Ids are the client's own; requests may overlap on one connection.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import msgspec

from prsm_node.errors import OperatorError
from prsm_node.unreadable import UNREADABLE

SOCKET_NAME = "core.sock"
# A block of 30,000 transactions lists 32 bytes for each, with 34 to spare a hash in msgpack: 1.0 MB.
MESSAGE_BYTES_MAX = 1 << 20
LENGTH_BYTES = 4
# sockaddr_un has 108 bytes, the last one a zero.
PATH_BYTES_MAX = 107


class Kind(IntEnum):
    ERROR = 0
    RESULT = 1
    EVENT = 2


class Request(msgspec.Struct, frozen=True, array_like=True):
    id: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    method: Annotated[str, msgspec.Meta(max_length=64)]
    params: msgspec.Raw
    """A map, decoded by the method that takes it."""


class Response(msgspec.Struct, frozen=True, array_like=True):
    id: int
    kind: Kind
    payload: msgspec.Raw


class Refusal(msgspec.Struct, frozen=True):
    """The payload of an ERROR."""

    code: str
    message: str


class ControlError(OperatorError):
    """A request was not done; `code` is for programs, the message a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class MalformedMessage(ValueError):
    """Bytes that are no message; the stream behind them can't be read on."""


_encoder = msgspec.msgpack.Encoder()
_request_decoder = msgspec.msgpack.Decoder(Request)
_response_decoder = msgspec.msgpack.Decoder(Response)


def framed(message: object) -> bytes:
    """Raise ControlError `too_large` for more than MESSAGE_BYTES_MAX."""
    body = _encoder.encode(message)
    if len(body) > MESSAGE_BYTES_MAX:
        raise ControlError(
            "too_large",
            f"the message has {len(body)} bytes, at most {MESSAGE_BYTES_MAX} are sent; ask for less at once",
        )
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def decode_request(message: bytes) -> Request:
    """Raise MalformedMessage."""
    try:
        return _request_decoder.decode(message)
    except UNREADABLE as error:
        raise MalformedMessage(f"not [id, method, params] in msgpack: {error}") from None


def decode_response(message: bytes) -> Response:
    """Raise MalformedMessage."""
    try:
        return _response_decoder.decode(message)
    except UNREADABLE as error:
        raise MalformedMessage(f"not [id, kind, payload] in msgpack: {error}") from None


class Splitter:
    """Cuts what was received into messages; holds at most one message and one read."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Yield each whole message. Raise MalformedMessage on a length beyond the limit."""
        buffer = self._buffer
        buffer += received
        start = 0
        try:
            while len(buffer) - start >= LENGTH_BYTES:
                length = int.from_bytes(buffer[start : start + LENGTH_BYTES], "big")
                if length > MESSAGE_BYTES_MAX:
                    raise MalformedMessage(
                        f"a message of {length} bytes; at most {MESSAGE_BYTES_MAX} are taken"
                    )
                end = start + LENGTH_BYTES + length
                if len(buffer) < end:
                    break
                message = bytes(buffer[start + LENGTH_BYTES : end])
                start = end
                yield message
        finally:
            del buffer[:start]


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Give a name for `path` that fits a socket address: by its directory's descriptor where it is too long.

    Raise OSError where the directory is not there.
    """
    if len(os.fsencode(path)) <= PATH_BYTES_MAX:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
