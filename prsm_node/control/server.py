"""The serving side of the control socket, under trio.

A client's fault is named to it and harms nobody else: connections, requests in flight, message sizes and
what waits to be written are bounded, each write has a deadline. Only an invariant (AssertionError) ends the
daemon.
"""

import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import structlog
import trio

from prsm_node.control.protocol import (
    ControlError,
    Kind,
    MalformedMessage,
    Refusal,
    Request,
    Splitter,
    decode_request,
    framed,
    short_path,
)
from prsm_node.errors import OperatorError
from prsm_node.unreadable import UNREADABLE

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # libp2p brings these stubs, which hide trio's own

# A home serves its operator, the api and a few tools; each may keep many requests in flight.
CONNECTIONS_MAX = 64
IN_FLIGHT_MAX = 64  # a connection; the next request is read when one is done
# What may wait for a reader: past it handlers wait, and the writer's deadline bounds that wait.
UNWRITTEN_BYTES_MAX = 1 << 20
WRITE_BYTES = 1 << 18  # a write, which has WRITE_S
WRITE_S = 5.0
RECEIVE_BYTES = 1 << 18

Emit = Callable[[object], Awaitable[None]]
log = structlog.get_logger("control")


class Method(NamedTuple):
    """How one request is answered: its params' type, and what returns the payload of its result.

    `call` raises ControlError to refuse. It is cancelled when its client goes away.
    """

    params: type[msgspec.Struct]
    call: Callable[[Any, Emit], Awaitable[object]]


Handlers = Mapping[str, Method]


async def serve(
    path: Path, handlers: Handlers, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled; the socket file goes with it.

    The caller holds the home's lock: a socket file that lies there is a dead daemon's. Raise OperatorError
    where the socket can't be made.
    """
    _remove(path)
    listener = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    open_connections = 0

    async def attend(link: trio.socket.SocketType) -> None:
        nonlocal open_connections
        open_connections += 1
        try:
            with link:
                if open_connections > CONNECTIONS_MAX:
                    await _refuse_connection(link)
                else:
                    await _Connection(trio.SocketStream(link), handlers).run()
        finally:
            open_connections -= 1

    with listener:
        with short_path(path) as address:
            try:
                await listener.bind(address)
            except OSError as error:
                why = os.strerror(error.errno or 0).lower()
                raise OperatorError(
                    f"no socket can be made at {path}: {why}; check who owns the home"
                ) from None
        os.chmod(path, 0o600)  # before listen(): until then nobody can connect
        listener.listen(CONNECTIONS_MAX)
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    try:
                        link, _ = await listener.accept()
                    except OSError as error:  # out of descriptors: wait for some to be closed
                        log.warning("no connection could be accepted", reason=os.strerror(error.errno or 0))
                        await trio.sleep(0.1)
                        continue
                    nursery.start_soon(attend, link)
        finally:
            _remove(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _refuse_connection(link: trio.socket.SocketType) -> None:
    refusal = Refusal(
        "too_many_connections", f"the daemon serves at most {CONNECTIONS_MAX} connections at a time"
    )
    with trio.move_on_after(WRITE_S):
        try:
            await link.send(framed((0, Kind.ERROR, refusal)))
        except OSError:
            return


class _Connection:
    """One client. Handlers append to `_unwritten`, one writer sends it; a slow reader is dropped."""

    def __init__(self, stream: trio.SocketStream, handlers: Handlers) -> None:
        self._stream = stream
        self._handlers = handlers
        self._unwritten = bytearray()
        self._something_to_write = trio.Event()
        self._written = trio.Event()
        self._slots = trio.Semaphore(IN_FLIGHT_MAX)

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, nursery.cancel_scope)
                try:
                    await self._read(nursery)
                except MalformedMessage as error:
                    await self._send(0, Kind.ERROR, Refusal("malformed", str(error)))
                    with trio.move_on_after(WRITE_S):
                        while self._unwritten:
                            await self._written.wait()
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def _read(self, nursery: trio.Nursery) -> None:
        """Return when the client has closed; raise MalformedMessage."""
        splitter = Splitter()
        while received := await self._stream.receive_some(RECEIVE_BYTES):
            for message in splitter.feed(received):
                request = decode_request(message)
                await self._slots.acquire()
                nursery.start_soon(self._answer, request)

    async def _answer(self, request: Request) -> None:
        try:
            await self._send(request.id, *await self._outcome(request))
        finally:
            self._slots.release()

    async def _outcome(self, request: Request) -> tuple[Kind, object]:
        method = self._handlers.get(request.method)
        if method is None:
            return Kind.ERROR, Refusal("unknown_method", f"there is no method `{request.method}`")

        async def emit(event: object) -> None:
            await self._send(request.id, Kind.EVENT, event)

        try:
            params = msgspec.msgpack.decode(request.params, type=method.params)
        except UNREADABLE as error:
            return Kind.ERROR, Refusal("bad_params", f"`{request.method}`: {error}")
        try:
            return Kind.RESULT, await method.call(params, emit)
        except ControlError as error:
            return Kind.ERROR, Refusal(error.code, str(error))
        except (AssertionError, trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except Exception:
            log.exception("a method failed", method=request.method)
            return Kind.ERROR, Refusal("internal", f"`{request.method}` failed; the daemon's log says why")

    async def _send(self, request_id: int, kind: Kind, payload: object) -> None:
        try:
            message = framed((request_id, kind, payload))
        except ControlError as error:
            message = framed((request_id, Kind.ERROR, Refusal(error.code, str(error))))
        while len(self._unwritten) > UNWRITTEN_BYTES_MAX:
            await self._written.wait()
        self._unwritten += message
        self._something_to_write.set()

    async def _write(self, connection: trio.CancelScope) -> None:
        """Send what has gathered; end the connection where a reader takes nothing for WRITE_S."""
        while True:
            await self._something_to_write.wait()
            self._something_to_write = trio.Event()
            batch = bytes(self._unwritten)
            for start in range(0, len(batch), WRITE_BYTES):
                with trio.move_on_after(WRITE_S) as deadline:
                    await self._stream.send_all(batch[start : start + WRITE_BYTES])
                if deadline.cancelled_caught:
                    log.info("a reader that takes nothing was dropped", unread_bytes=len(self._unwritten))
                    connection.cancel()
                    return
            del self._unwritten[: len(batch)]
            self._written.set()
            self._written = trio.Event()
