"""Invites: one line of text that brings a newcomer into a network, `prsm-invite-1...`.

It carries the genesis hash, a block that its author trusts (PROTOCOL, Joining) and a few addresses. The
genesis itself comes from a peer and is checked against the hash. After the prefix: base58 of a msgpack array
and of four bytes of its SHA-256, which find what was mistyped or cut off.
"""

from hashlib import sha256
from typing import Annotated, Final

import msgspec

from consensus.bounds import Digest, Height, TimeMs
from prsm_node.config import DIALLABLE
from prsm_node.errors import OperatorError
from prsm_node.identity import base58
from prsm_node.unreadable import UNREADABLE

PREFIX: Final = "prsm-invite-1"
CHECKSUM_BYTES: Final = 4
ADDRESSES_MAX: Final = 4
# 32 + 32 + 9 + 9 of hashes and numbers, four addresses of 256, and what msgpack and base58 add.
TEXT_CHARACTERS_MAX: Final = 2_048
DAY_MS: Final = 24 * 3600 * 1000
# How far ahead of ours the clock of the inviting node may be.
CLOCK_SKEW_MS: Final = 60_000

Multiaddr = Annotated[str, msgspec.Meta(max_length=256, pattern=DIALLABLE)]


class InviteError(OperatorError):
    """An invite that can't be read or trusted any more; the message says what to do."""


class Invite(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What an invite says."""

    genesis: Digest
    height: Height
    """Of the trusted block; 0 is the genesis itself, whose hash then is `genesis` again."""
    block: Digest
    time_ms: TimeMs
    """The time in the trusted block's header: trust ages from there, however fresh the invite."""
    addresses: Annotated[tuple[Multiaddr, ...], msgspec.Meta(min_length=1, max_length=ADDRESSES_MAX)]
    """Multiaddrs of nodes to dial, each with its peer id."""


def encode(invite: Invite) -> str:
    """Return the text of an invite."""
    content = msgspec.msgpack.encode(invite)
    text = PREFIX + base58.encode(content + _checksum(content))
    assert len(text) <= TEXT_CHARACTERS_MAX, f"an invite of {len(text)} characters"
    return text


def decode(text: str) -> Invite:
    """Return what an invite says; raise InviteError. Its age is not judged here: see `check_fresh`."""
    text = "".join(text.split())  # a line that an e-mail broke in two
    if not text.startswith(PREFIX):
        raise InviteError(f"this is no invite; one begins with {PREFIX}")
    if len(text) > TEXT_CHARACTERS_MAX:
        raise InviteError(f"the invite has {len(text)} characters; none has more than {TEXT_CHARACTERS_MAX}")
    try:
        data = base58.decode(text.removeprefix(PREFIX))
    except ValueError as error:
        raise InviteError(f"the invite {error}, so it was mistyped; copy it again") from None
    content, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if _checksum(content) != checksum:
        raise InviteError("the invite was cut off or mistyped: it does not fit its checksum; copy it again")
    try:
        return msgspec.msgpack.decode(content, type=Invite)
    except UNREADABLE as error:
        raise InviteError(f"the invite can't be read: {error}; ask for a new one") from None


def check_fresh(invite: Invite, unbonding_ms: int, now_ms: int) -> None:
    """Raise InviteError for trust as old as the unbonding time, or from the future.

    Validators that took their stake back since could sign a rival history at no cost. A trusted height of 0
    ages too: the genesis proves nothing about a chain whose first validators are gone.
    """
    age_ms = now_ms - invite.time_ms
    if age_ms >= unbonding_ms:
        raise InviteError(
            f"the invite trusts a block that is {_days(age_ms)} days old, and trust ends after "
            f"{_days(unbonding_ms)} days; ask for a new one"
        )
    if age_ms < -CLOCK_SKEW_MS:
        raise InviteError(
            f"the invite's block is {-age_ms // 1_000} s in the future; set the clock and try again"
        )


def _checksum(content: bytes) -> bytes:
    return sha256(b"invite" + content).digest()[:CHECKSUM_BYTES]


def _days(duration_ms: int) -> str:
    return f"{duration_ms / DAY_MS:.1f}".removesuffix(".0")
