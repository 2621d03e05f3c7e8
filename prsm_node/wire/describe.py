"""A frame shown to a person: every field, the verdict of every check, the messages with their field names.

It works for any bytes, good or bad, of any network; what cannot be told is left out and `rejected` says why.
"""

from typing import Any

import msgspec

from prsm_node.unreadable import UNREADABLE
from prsm_node.wire.frames import FrameJudge, FrameRejected
from prsm_node.wire.kinds import KINDS, Kind


def describe(raw: bytes, network: bytes | None = None) -> dict[str, Any]:
    """Return what a frame says as JSON-able values, bytes in hexadecimal.

    Without `network` the frame's own is taken, so that its signature can be judged.
    """
    shown: dict[str, Any] = {"bytes": len(raw)}
    try:
        fields = msgspec.msgpack.decode(raw)
    except UNREADABLE as error:
        fields = None
        shown["undecodable"] = str(error)
    if isinstance(fields, list) and len(fields) == 7:
        names = ("version", "network", "kind", "sender", "sequence")
        shown |= {name: _plain(value) for name, value in zip(names, fields[:5], strict=True)}
        if isinstance(fields[2], int) and fields[2] in set(Kind):
            shown["kind"] = Kind(fields[2]).name
        if isinstance(fields[5], list):
            shown["messages"] = [_plain(message) for message in fields[5]]
        shown["signature"] = _plain(fields[6])
    try:
        frame = FrameJudge(network or raw[4:36].ljust(32, b"\0")).judge(raw)
    except FrameRejected as refusal:
        shown["rejected"] = {"reason": refusal.reason.value, "field": refusal.field}
        return shown
    shown["messages"] = [_named(message) for message in frame.messages]
    shown["message_bytes"] = [len(message) for message in frame.raw]
    shown["frame_bytes_max"] = KINDS[frame.kind].frame_bytes_max
    shown["rejected"] = None
    return shown


def _named(value: Any) -> Any:
    """A Struct with its field names and, in front, its type."""
    if isinstance(value, msgspec.Struct):
        fields = {name: _named(getattr(value, name)) for name in value.__struct_fields__}
        return {"type": type(value).__name__} | fields
    if isinstance(value, list | tuple):
        return [_named(item) for item in value]
    return _plain(value)


def _plain(value: Any) -> Any:
    """Anything that msgpack holds as something that JSON holds."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, str | int | float | bool | None):
        return value
    return repr(value)
