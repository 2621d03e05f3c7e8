"""What is remembered of peers across restarts: bans, and anchors, the outbound links that lasted longest.

One small file of the home, written whole and renamed into place. One that can't be read is begun anew with a
warning: bans and anchors make a start safer, and are not worth refusing it.
"""

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Protocol

import msgspec
import structlog
import trio
from msgspec import Meta

from prsm_node import bounded_file
from prsm_node.errors import OperatorError
from prsm_node.network.bans import SUBJECTS_MAX, Ban
from prsm_node.unreadable import UNREADABLE
from prsm_node.wire.payloads import ADDRESS_LENGTH_MAX

log = structlog.get_logger("network")

ANCHORS_MAX: Final = 2
# 4,096 bans of about 300 bytes each in JSON are 1.2 MB.
FILE_BYTES_MAX: Final = 4 * 1024 * 1024
OWNER_ONLY: Final = 0o600


Offload = Callable[[Callable[[], None]], Awaitable[None]]
"""Runs what may block on the disk."""


class Remembered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one run leaves to the next."""

    bans: Annotated[tuple[Ban, ...], Meta(max_length=SUBJECTS_MAX)] = ()
    anchors: Annotated[
        tuple[Annotated[str, Meta(max_length=ADDRESS_LENGTH_MAX)], ...], Meta(max_length=ANCHORS_MAX)
    ] = ()
    """Multiaddresses, each ending in /p2p/<peer id>."""


class PeerRecords(Protocol):
    """Where links keep what they remember."""

    def load(self) -> Remembered: ...

    async def save(self, remembered: Remembered) -> None:
        """Durable when this returns; what can't be written is said and not raised."""


class Forgetful:
    """Keeps nothing: for what lives no longer than a run."""

    def load(self) -> Remembered:
        return Remembered()

    async def save(self, remembered: Remembered) -> None:
        """Nothing is kept."""


class PeerFile:
    """The file of a home."""

    def __init__(self, path: Path, offload: Offload = trio.to_thread.run_sync) -> None:
        self._path = path
        self._offload = offload

    def load(self) -> Remembered:
        if not self._path.exists():
            return Remembered()
        try:
            return decode(bounded_file.read(self._path, FILE_BYTES_MAX, "record of peers"))
        except (OperatorError, *UNREADABLE) as error:
            log.warning("peer_records_unreadable", file=str(self._path), why=str(error))
            return Remembered()

    async def save(self, remembered: Remembered) -> None:
        try:
            await self._offload(partial(_replace, self._path, encode(remembered)))
        except OSError as error:
            log.warning("peer_records_unwritten", file=str(self._path), why=error.strerror)


def encode(remembered: Remembered) -> bytes:
    return msgspec.json.format(msgspec.json.encode(remembered), indent=1) + b"\n"


def decode(data: bytes) -> Remembered:
    """Raise what is in UNREADABLE."""
    return msgspec.json.decode(data, type=Remembered)


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.new")
    with open(draft, "wb", opener=_private) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, OWNER_ONLY)
