"""Frames that passed every check, given to who handles their kind, and what it means if that fails."""

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from prsm_node.network.greeting import Greeter
from prsm_node.network.link import Link
from prsm_node.wire.frames import Frame, FrameRejected, Reason
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import Heartbeat

Handler = Callable[[Link, list[Any], list[bytes]], None]
"""(link, messages decoded, the bytes of each). Of kind K the messages are of wire.kinds.KINDS[K].payload."""

# Frames with these faults mean that the two ends read another protocol; nothing good follows on the stream.
UNREADABLE = {Reason.WRONG_VERSION, Reason.WRONG_NETWORK, Reason.WRONG_SENDER}


class DispatchLinks(Protocol):
    """What dispatch needs of links.py."""

    counters: Counter[str]

    def fault(self, of: Link | bytes, reason: str) -> None: ...
    def broken(self, error: AssertionError) -> None: ...


class FrameDispatch:
    """Args: `raise_up` takes a link that has greeted, `on_height` hears each heartbeat's height."""

    def __init__(
        self,
        links: DispatchLinks,
        greeter: Greeter,
        raise_up: Callable[[Link], None],
        on_height: Callable[[Link, int], None],
    ) -> None:
        self._links = links
        self._greeter = greeter
        self._raise_up = raise_up
        self._on_height = on_height
        self._handlers: dict[Kind, Handler] = {}

    def handle(self, kind: Kind, handler: Handler) -> None:
        """Give the messages of a kind to `handler`; one handler a kind."""
        assert kind not in self._handlers, f"{kind.name} has a handler"
        assert kind not in (Kind.HELLO, Kind.HEARTBEAT), f"{kind.name} is the links' own"
        self._handlers[kind] = handler

    def received(self, link: Link, frame: Frame) -> None:
        """A frame passed every check."""
        links = self._links
        links.counters[f"received.{frame.kind.name.lower()}"] += 1
        try:
            if frame.kind is Kind.HELLO:
                for hello in frame.messages:
                    if self._greeter.hello(link, hello):
                        self._raise_up(link)
            elif not link.up.is_set():
                links.fault(link, "not_greeted")
                link.close("not_greeted")
            elif frame.kind is Kind.HEARTBEAT:
                heartbeat: Heartbeat = frame.messages[-1]
                link.echo(heartbeat)
                self._on_height(link, heartbeat.height)
            elif (handler := self._handlers.get(frame.kind)) is not None:
                handler(link, frame.messages, frame.raw)
            else:
                links.counters[f"unhandled.{frame.kind.name}"] += 1
        except AssertionError as error:
            links.broken(error)
        except Exception as error:
            links.counters[f"handler_failed.{frame.kind.name}.{type(error).__name__}"] += 1
            links.fault(link, "handler_failed")
            link.close(f"handler failed: {type(error).__name__}")

    def rejected(self, link: Link, refusal: FrameRejected) -> None:
        """A frame was refused: score that, and go on where the stream can still be read."""
        self._links.fault(link, refusal.reason.value)
        if refusal.reason in UNREADABLE:
            link.close(f"unreadable: {refusal.reason}")
