"""`prsm-node frame decode`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from prsm_node.cli.json_flag import JsonFlag
from prsm_node.cli.output import print_fields, print_json
from prsm_node.errors import OperatorError

FRAME_BYTES_MAX = 1 << 20
TEXT_BYTES_MAX = 2 * FRAME_BYTES_MAX + 4_096


def decode(
    source: Annotated[
        str, typer.Argument(metavar="[HEX|FILE]", help="The frame in hexadecimal, or a file; - is stdin.")
    ] = "-",
    network: Annotated[
        str | None, typer.Option(metavar="HASH", help="Judge it as this network would, by its genesis hash.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Show what a frame from the wire says.

    Files and stdin hold the frame's bytes or their hexadecimal. A frame that a node would refuse is shown
    too, with the reason.
    """
    from prsm_node.wire.describe import describe

    shown = describe(_frame_bytes(source), _network_id(network))
    if json:
        print_json(shown)
        return
    print_fields(
        (name.replace("_", " "), _line(value)) for name, value in shown.items() if name != "messages"
    )
    for message in shown.get("messages", []):
        print(msgspec.json.format(msgspec.json.encode(message), indent=2).decode())


def _line(value: Any) -> object:
    if value is None:
        return "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items() if item is not None)
    return value


def _frame_bytes(source: str) -> bytes:
    if source == "-":
        data = sys.stdin.buffer.read(TEXT_BYTES_MAX + 1)
    elif (raw := _hexadecimal(source.encode())) is not None:
        return raw
    elif not Path(source).expanduser().exists():
        raise OperatorError(f"{source[:80]!a} is neither hexadecimal nor a file; name one, or - for stdin")
    else:
        with Path(source).expanduser().open("rb") as file:
            data = file.read(TEXT_BYTES_MAX + 1)
    if len(data) > TEXT_BYTES_MAX:
        raise OperatorError(f"{source} is larger than a frame, {FRAME_BYTES_MAX} bytes at most; name another")
    raw = _hexadecimal(data)
    return raw if raw is not None else data


def _hexadecimal(data: bytes) -> bytes | None:
    """A frame's first byte is no ASCII character, so what reads as hexadecimal is hexadecimal."""
    try:
        return bytes.fromhex(data.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        return None


def _network_id(text: str | None) -> bytes | None:
    if text is None:
        return None
    network = _hexadecimal(text.encode())
    if network is None or len(network) != 32:
        raise OperatorError(f"--network is {text[:80]!a}; write the genesis hash, 64 hexadecimal digits")
    return network
