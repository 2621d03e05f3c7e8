"""What a height asks of open_height.py, besides the effects that it passes on to the host."""

import msgspec

from consensus.certificates import CheckedCertificate
from consensus.effects import Effect


class BuildBlock(msgspec.Struct, frozen=True):
    """Line 18, getValue(): build a block for this round, then ask `Height.propose` for leave."""

    round: int


class Propose(msgspec.Struct, frozen=True):
    """Lines 16 and 19: propose our valid value again, with its polka; ask `Height.propose` for leave."""

    round: int
    value: bytes
    valid_round: int
    polka: CheckedCertificate


Outcome = Effect | BuildBlock | Propose
