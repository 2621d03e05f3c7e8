"""The block that an invite vouched for: kept in the home, so that no restart forgets it (PROTOCOL, Joining).

A certificate of former validators looks as good as any; only a trusted (height, hash) tells their rival
history from the chain. Whoever syncs refuses every other block at that height.
"""

from pathlib import Path
from typing import Final

import msgspec

from consensus.bounds import Digest, Height, TimeMs
from prsm_node.errors import OperatorError
from prsm_node.identity import private_files
from prsm_node.invite import DAY_MS, Invite
from prsm_node.unreadable import UNREADABLE

FILE_BYTES_MAX: Final = 1_024


class UntrustedChain(OperatorError):
    """This home and the block it trusts do not fit together; the message says what to do."""


class TrustedBlock(msgspec.Struct, frozen=True):
    """A block that whoever made this home's invite held to be final."""

    height: Height
    """0 is the genesis, whose hash the home has anyway."""
    hash: Digest
    time_ms: TimeMs
    """In its header: trust ages from there."""

    def contradicted(self) -> str:
        """Return, as a sentence, that a peer's chain is not the trusted one."""
        return (
            f"a peer's chain has another block at height {self.height} than the trusted "
            f"{self.hash.hex()[:16]} of this home's invite; it is refused"
        )

    def off_the_way(self) -> str:
        """Return, as a sentence, that this node's own blocks are not of the trusted chain."""
        return (
            f"the blocks in this home do not lead to the block at height {self.height} that its invite "
            "trusts; remove its data folder and start again, or join with a new invite"
        )


def of_invite(invite: Invite) -> TrustedBlock:
    return TrustedBlock(invite.height, invite.block, invite.time_ms)


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    height: Height
    hash: str
    time_ms: TimeMs


def save(trusted: TrustedBlock, path: Path) -> None:
    """Write it, durable when this returns; raise PrivateFileError where there is one already."""
    document = _Document(trusted.height, trusted.hash.hex(), trusted.time_ms)
    private_files.write_new(path, msgspec.json.encode(document) + b"\n")


def load(path: Path) -> TrustedBlock | None:
    """Return the trusted block of a home, None for one that was not joined by an invite. Raise
    OperatorError."""
    if not path.exists():
        return None
    try:
        document = msgspec.json.decode(private_files.read(path, FILE_BYTES_MAX), type=_Document)
        return msgspec.convert(
            {"height": document.height, "hash": bytes.fromhex(document.hash), "time_ms": document.time_ms},
            TrustedBlock,
        )
    except (*UNREADABLE, ValueError) as error:
        raise UntrustedChain(f"{path} can't be read: {error}; join again with a new invite") from None


def check(
    trusted: TrustedBlock, height: int, kept: bytes | None, unbonding_ms: int, now_ms: int, folder: Path
) -> None:
    """Raise UntrustedChain where a chain executed up to `height` can't go on under this trust.

    `kept` is the hash at the trusted height, None where it is not there (yet, or any more). Below it the
    trust must still be younger than the unbonding time: it is what the rest of the sync rests on.
    """
    if height >= trusted.height and kept is not None and kept != trusted.hash:
        raise UntrustedChain(
            f"the chain in {folder} has another block at height {trusted.height} than this home's invite "
            "trusts; remove that folder to sync anew, or join with a new invite"
        )
    age_ms = now_ms - trusted.time_ms
    if height < trusted.height and age_ms >= unbonding_ms:
        raise UntrustedChain(
            f"the block that this home trusts is {age_ms // DAY_MS} days old, and trust ends after "
            f"{unbonding_ms // DAY_MS} days; join with a new invite"
        )
