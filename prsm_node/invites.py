"""Invites: one short string that lets a stranger join a network without trusting whom it meets there.

It holds the genesis hash, a trusted recent block and addresses of nodes: `prsm-invite-` and base64url of
msgpack with four bytes of SHA-256 at the end, so that a mistyped one is noticed.
"""

import base64
import binascii
from hashlib import sha256
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from consensus.bounds import Digest, Height, TimeMs
from prsm_node.errors import OperatorError

PREFIX: Final = "prsm-invite-"
CHECK_BYTES: Final = 4
TEXT_CHARACTERS_MAX: Final = 4_096


class InviteError(OperatorError):
    """A text that is no invite."""


class Invite(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    genesis: Digest
    height: Height
    """Of the trusted block; 0 is the genesis itself."""
    block: Digest
    """Its hash; the genesis hash for height 0."""
    time_ms: TimeMs
    """Its time: trust older than the unbonding time is refused (PROTOCOL, Joining)."""
    addresses: Annotated[tuple[Annotated[str, Meta(max_length=256)], ...], Meta(min_length=1, max_length=8)]
    """Multiaddresses, each ending in /p2p/<peer id>."""


def to_text(invite: Invite) -> str:
    """Return the string that a person hands over."""
    content = msgspec.msgpack.encode(invite)
    checked = content + sha256(content).digest()[:CHECK_BYTES]
    return PREFIX + base64.urlsafe_b64encode(checked).decode().rstrip("=")


def from_text(text: str) -> Invite:
    """Return the invite; raise InviteError."""
    body = text.strip()
    if not body.startswith(PREFIX) or len(body) > TEXT_CHARACTERS_MAX:
        raise InviteError(
            f"{body[:40]!a} is no invite; it begins with {PREFIX}, and `prsm-node invite` prints one"
        )
    body = body.removeprefix(PREFIX)
    try:
        checked = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        content, check = checked[:-CHECK_BYTES], checked[-CHECK_BYTES:]
        if sha256(content).digest()[:CHECK_BYTES] != check:
            raise InviteError("a part of the invite is missing or mistyped; copy it again, whole")
        return msgspec.msgpack.decode(content, type=Invite)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise InviteError("a part of the invite is missing or mistyped; copy it again, whole") from None
