"""Forks that this node met: the proof of each is a file in its home, for other operators to check."""

from pathlib import Path
from typing import Annotated, Final

import msgspec

from consensus.agreement.votekeeper import POLKA_VOTES_MAX
from consensus.certificates import Certificate
from consensus.evidence import Amnesia, VoteEquivocation, conflicting_certificates
from prsm_node import bounded_file
from prsm_node.errors import OperatorError
from prsm_node.home import Home
from prsm_node.storage.durable_files import write_whole
from prsm_node.unreadable import UNREADABLE

# Two commits, and polkas with so many votes at most, 200 bytes each in indented base64: 3.4 MB and what holds
# them.
PROOF_BYTES_MAX: Final = 8 << 20
FORKS_MAX: Final = 64
"""Read at most: a node halts at each fork that it meets."""

CERTIFICATES_MAX: Final = 2 + POLKA_VOTES_MAX
"""Each polka has a vote at least."""

_proof = msgspec.json.Decoder(
    Annotated[tuple[Certificate, ...], msgspec.Meta(min_length=2, max_length=CERTIFICATES_MAX)]
)


class Fork(msgspec.Struct, frozen=True):
    """Two decisions at one height."""

    path: Path
    height: int
    guilty: dict[bytes, VoteEquivocation | Amnesia]
    """Whom the two commits convict, with the polkas that this node had of their height; a proof of each."""


def export(home: Home, proof: tuple[Certificate, ...]) -> Path:
    """Write the two commits that prove a fork, and the polkas that say who is guilty: as many as are read
    again. Raise OSError with no half of it left."""
    path = home.path / f"fork-at-{proof[0].height}.json"
    write_whole(path, msgspec.json.format(msgspec.json.encode(proof[:CERTIFICATES_MAX]), indent=2))
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
        first, second, *polkas = _proof.decode(proof)
    except UNREADABLE as error:
        raise OperatorError(f"{path} is no proof of a fork: {error}; move it out of this home") from None
    return Fork(path, first.height, conflicting_certificates(first, second, polkas))
