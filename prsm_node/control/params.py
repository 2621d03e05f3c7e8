"""What each request over the control socket brings, held to its bounds as it is decoded."""

from typing import Annotated

from msgspec import Meta, Struct

HISTORY_MAX = 1_000
BANNED_LENGTH_MAX = 256

Raw = Annotated[bytes, Meta(min_length=1, max_length=16_384)]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
AddressBytes = Annotated[bytes, Meta(min_length=33, max_length=33)]


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """No params."""


class OfBanned(Struct, frozen=True, forbid_unknown_fields=True):
    who: Annotated[str, Meta(min_length=1, max_length=BANNED_LENGTH_MAX)]


class AtHeight(Struct, frozen=True, forbid_unknown_fields=True):
    height: Annotated[int, Meta(ge=0, le=2**62)]


class ByHash(Struct, frozen=True, forbid_unknown_fields=True):
    hash: Hash


class OfAddress(Struct, frozen=True, forbid_unknown_fields=True):
    address: AddressBytes


class PageOfHistory(Struct, frozen=True, forbid_unknown_fields=True):
    address: AddressBytes
    limit: Annotated[int, Meta(ge=1, le=HISTORY_MAX)] = 20
    before: Annotated[int, Meta(ge=0, le=2**62)] | None = None


class Submission(Struct, frozen=True, forbid_unknown_fields=True):
    transactions: Annotated[list[Raw], Meta(min_length=1, max_length=4_096)]


class AwaitedSubmission(Struct, frozen=True, forbid_unknown_fields=True):
    transaction: Raw
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 30.0
