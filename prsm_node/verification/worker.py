"""The signature worker: a plain process that checks Ed25519 signatures (ZIP-215) and nothing else.

Started as `python -I worker.py PREFIX HEAD TAIL` with a socket as file 0; it ends when the other end closes,
so it never outlives its parent. A request is (body length, id, body), numbers little-endian of 32 bits, the
body a msgpack list of raw transactions. The answer is (count, id, one byte a transaction: 1 good). The
transactions' layout comes as arguments, so that ledger/transactions.py stays its only source, and nothing of
this project is imported: 8 MB instead of 13.

Holding the interpreter for 40 us a check, this would stall votes if it ran in the daemon.
"""

import os
import sys
from struct import Struct

import ed25519_zebra  # type: ignore[import-untyped]

FRAME = Struct("<II")
READY = b"R"
"""Sent once, when the worker can take work."""
_KEY_BYTES = 32


def signature_holds(prefix: bytes, head: bytes, tail: int, raw: bytes) -> bool:
    """Whether `raw` begins with `head` and a key, and ends with that key's signature of prefix and the rest.

    `tail` is the length of the encoded signature, of which the last 64 bytes are the signature itself.
    """
    if len(raw) < len(head) + _KEY_BYTES + tail or not raw.startswith(head):
        return False
    key = raw[len(head) : len(head) + _KEY_BYTES]
    return bool(ed25519_zebra.ed_verify(raw[-64:], prefix + raw[:-tail], key))


def parse_list(body: bytes) -> list[bytes]:
    """Read a msgpack list of bins as the parent writes it."""
    head = body[0]
    if head & 0xF0 == 0x90:
        count, at = head & 0x0F, 1
    elif head == 0xDC:
        count, at = int.from_bytes(body[1:3], "big"), 3
    else:
        assert head == 0xDD, f"a list that begins with {head:#x}"
        count, at = int.from_bytes(body[1:5], "big"), 5
    items = []
    for _ in range(count):
        width = {0xC4: 1, 0xC5: 2, 0xC6: 4}[body[at]]
        start = at + 1 + width
        at = start + int.from_bytes(body[at + 1 : start], "big")
        items.append(body[start:at])
    assert at == len(body), f"{len(body) - at} bytes after the list"
    return items


def _read_exactly(size: int) -> bytes:
    """Return b"" when the parent has closed its end, even in mid-message."""
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            return b""
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(0, data) :]


def main() -> None:
    prefix, head, tail = bytes.fromhex(sys.argv[1]), bytes.fromhex(sys.argv[2]), int(sys.argv[3])
    _write(READY)
    while header := _read_exactly(FRAME.size):
        length, number = FRAME.unpack(header)
        body = _read_exactly(length)
        if not body:
            return
        results = bytes(signature_holds(prefix, head, tail, raw) for raw in parse_list(body))
        _write(FRAME.pack(len(results), number) + results)


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, BrokenPipeError, ConnectionResetError):
        sys.exit(0)  # the parent ends
