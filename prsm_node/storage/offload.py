"""Where storage runs what may block."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Offload(Protocol):
    """Runs a function where it may block; a simulation hands in one that runs it at once."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...
