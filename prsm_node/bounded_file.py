"""Files that an operator names: read whole up to a bound, or refused in one sentence."""

from pathlib import Path

from prsm_node.errors import OperatorError


def read(path: Path, bytes_max: int, noun: str, fault: type[OperatorError] = OperatorError) -> bytes:
    """Return the bytes of `path`; raise `fault` where it can't be opened or is too large to be a `noun`."""
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise fault(f"{path} can't be read: {(error.strerror or type(error).__name__).lower()}") from None
    if len(data) > bytes_max:
        raise fault(f"{path} is larger than {bytes_max} bytes, so it is no {noun}")
    return data
