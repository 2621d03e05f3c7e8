"""What other rooms need of signature checks, and the one that does them where it stands."""

from collections.abc import Sequence
from typing import Protocol

import trio

from consensus.signing import SignedKind, signed_prefix
from prsm_node.ledger.transactions import ED25519_HEAD, SIGNATURE_TAIL
from prsm_node.verification.worker import signature_holds


class Verifier(Protocol):
    async def check(self, raws: Sequence[bytes]) -> bytes:
        """Return one byte for each raw transaction: 1 where its sender's signature holds, otherwise 0."""


class InlineVerifier:
    """Checks on the loop, 40-50 us each: for simulation, offline commands and tests."""

    def __init__(self, network: bytes) -> None:
        self._prefix = signed_prefix(network, SignedKind.TRANSACTION)

    async def check(self, raws: Sequence[bytes]) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.check_now(raws)

    def check_now(self, raws: Sequence[bytes]) -> bytes:
        prefix = self._prefix
        return bytes(signature_holds(prefix, ED25519_HEAD, SIGNATURE_TAIL, raw) for raw in raws)
