"""The journal's files: how a record lies on disk, and where a segment that was cut off ends.

A segment is a header (magic, number, salt) and records, one after the other. A record's header says how many
bytes of its segment were durable when it was queued. So a damaged record tells its own story: if a later one
knows it to have been durable, the disk lost what was promised; if none does, it is the torn end of a last
write that nobody was told of, and is cut. Salt and offset are in every header's check sum: neither an old
file's blocks nor bytes that a peer chose can pass for a record.

journal.py queues and acknowledges; journal_writer.py writes. Nothing here waits or starts a thread.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zlib import crc32

from prsm_node.storage.errors import StorageError

SEGMENT_MAGIC = b"PRSMLOG1"
SEGMENT_HEADER = struct.Struct("<8sQI")
RECORD_MAGIC = b"\xa7Jr\x1b"
# magic, kind, payload length, durable bytes of the segment, payload CRC; then the CRC of these.
_RECORD_FIELDS = struct.Struct("<4sBIII")
_CRC = struct.Struct("<I")
RECORD_HEADER_BYTES = _RECORD_FIELDS.size + _CRC.size
# Eight frames of 1 MiB: larger than anything that the node writes, small enough to be read whole.
RECORD_BYTES_MAX = 8 << 20


class Record(NamedTuple):
    kind: int
    payload: bytes
    position: int
    """segment << 32 | offset."""


class Scanned(NamedTuple):
    """A record where it was found, and the offset of what follows it."""

    kind: int
    payload: bytes
    offset: int
    end: int
    durable: int
    """How many bytes of its segment were durable when it was queued."""


class End(NamedTuple):
    """Where the last segment's whole records end."""

    offset: int
    durable: int
    """Up to where the last of them knows the segment to be on the disk; 0 where none does."""


class Corrupt(Exception):
    """The bytes at `offset` are no record."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def segment_path(directory: Path, number: int) -> Path:
    return directory / f"{number:08x}.log"


def segment_of(position: int) -> int:
    """Return the number of the segment that a record lies in."""
    return position >> 32


def first_position(segment: int) -> int:
    """Return the position of a segment's first record."""
    return segment << 32 | SEGMENT_HEADER.size


def segment_numbers(directory: Path) -> list[int]:
    """Return the numbers of the segments that exist; raise StorageError where one between them is missing."""
    numbers = sorted(int(path.stem, 16) for path in directory.glob("????????.log"))
    if numbers and numbers != list(range(numbers[0], numbers[-1] + 1)):
        raise StorageError(
            f"journal {directory} lacks a segment between {segment_path(directory, numbers[0]).name} and "
            f"{segment_path(directory, numbers[-1]).name}; restore it or sync this node anew"
        )
    return numbers


def segment_header(number: int, salt: int) -> bytes:
    return SEGMENT_HEADER.pack(SEGMENT_MAGIC, number, salt)


def record_header(
    kind: int, buffers: tuple[bytes, ...], length: int, durable: int, salt: int, offset: int
) -> bytes:
    """Return the 21 bytes that precede the payload at `offset` of a segment with this salt."""
    crc = 0
    for buffer in buffers:
        crc = crc32(buffer, crc)
    fields = _RECORD_FIELDS.pack(RECORD_MAGIC, kind, length, durable, crc)
    return fields + _CRC.pack(crc32(fields, salt ^ offset))


def _parse_header(header: bytes, salt: int, offset: int) -> tuple[int, int, int, int] | None:
    """Return kind, length, durable and payload CRC, or None for what was not written here."""
    if len(header) != RECORD_HEADER_BYTES:
        return None
    fields = header[: _RECORD_FIELDS.size]
    magic, kind, length, durable, crc = _RECORD_FIELDS.unpack(fields)
    if magic != RECORD_MAGIC or crc32(fields, salt ^ offset) != _CRC.unpack(header[_RECORD_FIELDS.size :])[0]:
        return None
    if length > RECORD_BYTES_MAX:
        return None
    return kind, length, durable, crc


def read_salt(path: Path, number: int) -> int | None:
    """Return a segment's salt; None where its header is not whole or not its own."""
    with path.open("rb") as file:
        head = file.read(SEGMENT_HEADER.size)
    if len(head) != SEGMENT_HEADER.size:
        return None
    magic, named, salt = SEGMENT_HEADER.unpack(head)
    assert isinstance(salt, int)
    return salt if magic == SEGMENT_MAGIC and named == number else None


def read_record(fd: int, salt: int, offset: int) -> tuple[int, bytes]:
    """Return kind and payload of the record at `offset`. Raise Corrupt where there is none."""
    parsed = _parse_header(os.pread(fd, RECORD_HEADER_BYTES, offset), salt, offset)
    if parsed is None:
        raise Corrupt(offset)
    kind, length, _, crc = parsed
    payload = os.pread(fd, length, offset + RECORD_HEADER_BYTES)
    if len(payload) != length or crc32(payload) != crc:
        raise Corrupt(offset)
    return kind, payload


def scan(file: BinaryIO, salt: int, offset: int, end: int) -> Iterator[Scanned]:
    """Yield the records of a segment from `offset` to `end`. Raise Corrupt at what is none."""
    file.seek(offset)
    while offset < end:
        parsed = _parse_header(file.read(RECORD_HEADER_BYTES), salt, offset)
        if parsed is None:
            raise Corrupt(offset)
        kind, length, durable, crc = parsed
        payload = file.read(length)
        after = offset + RECORD_HEADER_BYTES + length
        if len(payload) != length or crc32(payload) != crc or after > end:
            raise Corrupt(offset)
        yield Scanned(kind, payload, offset, after, durable)
        offset = after


def promised_beyond(tail: bytes, salt: int, offset: int) -> bool:
    """Whether a record in `tail`, which begins at `offset`, knows that byte to have been durable."""
    at = tail.find(RECORD_MAGIC)
    while at >= 0:
        parsed = _parse_header(tail[at : at + RECORD_HEADER_BYTES], salt, offset + at)
        if parsed is not None and parsed[2] > offset:
            return True
        at = tail.find(RECORD_MAGIC, at + 1)
    return False


def find_end(path: Path, salt: int) -> End:
    """Return where the last segment's whole records end. Raise StorageError if promised ones are damaged."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        end, durable = SEGMENT_HEADER.size, 0
        try:
            for record in scan(file, salt, end, size):
                end, durable = record.end, record.durable
        except Corrupt:
            file.seek(end)
            if promised_beyond(file.read(), salt, end):
                raise StorageError(
                    f"journal segment {path} is damaged at byte {end}, before records that were durable; "
                    f"restore it or sync this node anew, and do not vote with its key until then"
                ) from None
    return End(end, durable)
