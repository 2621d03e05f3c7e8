"""Checks the bodies of batches before they are acknowledged (Lanes 2 and 5).

Each transaction well-formed and signed, none twice, few already spent. A signature that this node checked
before is not checked again: it may have taken the transaction in and handed it to the lane itself.
"""

from enum import IntEnum
from typing import NamedTuple

import msgspec

from prsm_node.ledger.transactions import (
    MalformedTransaction,
    Transaction,
    decode_transaction,
    transaction_hash,
)
from prsm_node.mempool.admission import LedgerView
from prsm_node.mempool.batching import GROWN_BYTES
from prsm_node.verification.verifier import Verifier

# The largest that an honest author closes, and one transaction beyond.
BODY_BYTES_MAX = GROWN_BYTES + 16_384
# 112 bytes is the smallest transaction there is.
BODY_TRANSACTIONS_MAX = BODY_BYTES_MAX // 112
# What was handed over may have been executed meanwhile; more than a few is a flood of old ones.
SPENT_MAX = 8
SPENT_SHARE = 8
# Two generations of 32,768 hashes, some 6 MB: eight seconds at 4,000/s, where a batch returns within one.
VERIFIED_MAX = 32_768

_decode_body = msgspec.msgpack.Decoder(list[bytes]).decode


class BodyFault(IntEnum):
    NONE = 0
    TOO_LARGE = 1
    MALFORMED = 2
    EMPTY = 3
    REPEATED = 4
    SPENT = 5
    WRONG_SIGNATURE = 6


class BodyVerdict(NamedTuple):
    fault: BodyFault
    hashes: list[bytes]
    transactions: list[Transaction]
    """Decoded already, in the body's order; what executes them need not decode again."""

    @property
    def good(self) -> bool:
        return self.fault is BodyFault.NONE


class VerifiedCache:
    """Hashes of transactions whose signatures hold. Two generations: the older one is forgotten whole."""

    def __init__(self, items_max: int = VERIFIED_MAX) -> None:
        self._items_max = items_max
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._young or digest in self._old

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def add(self, digest: bytes) -> None:
        if len(self._young) >= self._items_max:
            self._old, self._young = self._young, set()
        self._young.add(digest)


def _refused(fault: BodyFault) -> BodyVerdict:
    return BodyVerdict(fault, [], [])


async def check_body(
    body: bytes,
    ledger: LedgerView,
    verifier: Verifier,
    verified: VerifiedCache,
    spent_allowed: bool = False,
) -> BodyVerdict:
    """Say whether a body may be acknowledged. Takes the verifier's time for what was not seen before."""
    if len(body) > BODY_BYTES_MAX:
        return _refused(BodyFault.TOO_LARGE)
    try:
        raws = _decode_body(body)
    except msgspec.MsgspecError:
        return _refused(BodyFault.MALFORMED)
    if not raws:
        return _refused(BodyFault.EMPTY)
    if len(raws) > BODY_TRANSACTIONS_MAX:
        return _refused(BodyFault.TOO_LARGE)
    hashes = [transaction_hash(raw) for raw in raws]
    if len(set(hashes)) != len(hashes):
        return _refused(BodyFault.REPEATED)
    try:
        transactions = [decode_transaction(raw) for raw in raws]
    except MalformedTransaction:
        return _refused(BodyFault.MALFORMED)
    spent = 0
    nonces: dict[bytes, int] = {}
    for transaction in transactions:
        sender = transaction.sender
        nonce = nonces.get(sender)
        if nonce is None:
            account = ledger.account(sender)
            nonce = nonces[sender] = account.nonce if account is not None else 0
        spent += transaction.nonce < nonce
    if not spent_allowed and spent > max(SPENT_MAX, len(raws) // SPENT_SHARE):
        return _refused(BodyFault.SPENT)
    unknown = [place for place, digest in enumerate(hashes) if digest not in verified]
    if unknown:
        results = await verifier.check([raws[place] for place in unknown])
        if 0 in results:
            return _refused(BodyFault.WRONG_SIGNATURE)
        for place in unknown:
            verified.add(hashes[place])
    return BodyVerdict(BodyFault.NONE, hashes, transactions)
