"""Forks that this node met: the proof of each is a file in its home, for other operators to check."""

from pathlib import Path
from typing import Final

import msgspec

from consensus.certificates import Certificate
from consensus.evidence import Amnesia, VoteEquivocation, conflicting_certificates
from prsm_node import bounded_file
from prsm_node.errors import OperatorError
from prsm_node.home import Home
from prsm_node.unreadable import UNREADABLE

# Two certificates of 256 validators, signatures in base64, indented: 120 KB.
PROOF_BYTES_MAX: Final = 1 << 20
FORKS_MAX: Final = 64
"""Read at most: a node halts at each fork that it meets."""

_proof = msgspec.json.Decoder(tuple[Certificate, Certificate])


class Fork(msgspec.Struct, frozen=True):
    """Two decisions at one height."""

    path: Path
    height: int
    guilty: dict[bytes, VoteEquivocation | Amnesia]
    """Whom the two certificates convict by themselves, with a proof of each."""


def export(home: Home, proof: tuple[Certificate, ...]) -> Path:
    """Write the certificates that prove a fork."""
    path = home.path / f"fork-at-{proof[0].height}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(proof), indent=2))
    return path


def met(home: Home) -> list[Fork]:
    """Return the forks that this node met, in order of height; raise OperatorError for a damaged proof."""
    return sorted((read(path) for path in _files(home)), key=lambda fork: fork.height)


def _files(home: Home) -> list[Path]:
    return sorted(home.path.glob("fork-at-*.json"))[:FORKS_MAX]


def read(path: Path) -> Fork:
    """Return the fork that a file proves; raise OperatorError where it is damaged."""
    proof = bounded_file.read(path, PROOF_BYTES_MAX, "proof of a fork")
    try:
        first, second = _proof.decode(proof)
    except UNREADABLE as error:
        raise OperatorError(f"{path} is no proof of a fork: {error}; move it out of this home") from None
    return Fork(path, first.height, conflicting_certificates(first, second))
