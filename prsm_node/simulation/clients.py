"""Clients of the daemons: wallets that pay each other through the control socket's methods, and believe them.

A payment is signed once and asked for until some daemon says that it is final, at one daemon after the other:
what a daemon that was killed knew of it may be lost, what it said may not.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

import trio

from consensus.simulation.violation import Violation
from prsm_node.control.params import AwaitedSubmission, ByHash
from prsm_node.control.protocol import ControlError
from prsm_node.control.views import Settled, TransactionView
from prsm_node.identity.addresses import address_of
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.ledger.transactions import Transfer, signing_bytes, unsigned_bytes, with_signature
from prsm_node.simulation.promises import KEPT
from prsm_node.storage.errors import StorageError

if TYPE_CHECKING:
    from prsm_node.simulation.cluster import Cluster
    from prsm_node.simulation.process import Process

WALLETS = 6
BALANCE = 10**12
FEE = 1_000
WAIT_S = 3.0
AGAIN_MS = 300.0


class Clients:
    """Args:
    seed: what the wallets' keys follow from.
    """

    def __init__(self, seed: int) -> None:
        keys = [SigningKey.from_seed(sha256(b"wallet %d %d" % (seed, i)).digest()) for i in range(WALLETS)]
        self._keys = {address_of(key.public): key for key in keys}
        self.addresses = list(self._keys)
        self.unsettled: dict[bytes, None] = {}
        """The payments, by hash, that no daemon has called final yet."""
        self._nonces = dict.fromkeys(self.addresses, 0)

    def signed(self, network: bytes, number: int) -> bytes:
        """Make the next payment: who pays whom, and how much, follows from its number."""
        sender = self.addresses[number % WALLETS]
        to = self.addresses[(number // WALLETS + 1 + number) % WALLETS]
        nonce = self._nonces[sender]
        self._nonces[sender] = nonce + 1
        unsigned = unsigned_bytes(sender, nonce, FEE, (Transfer(to, number),))
        return with_signature(unsigned, self._keys[sender].sign(signing_bytes(network, unsigned)))

    async def pay(self, cluster: "Cluster", first: int, raw: bytes) -> None:
        """Have a payment made by the daemon `first`, or else by the next that answers."""
        digest = sha256(raw).digest()
        self.unsettled[digest] = None
        number = first
        while True:
            process = cluster.all[number % len(cluster.all)]
            height = await self._asked(cluster, process, raw, digest)
            if height is not None:
                cluster.told(process, digest, height)
                del self.unsettled[digest]
                return
            number += 1
            await cluster.future.wait(AGAIN_MS)

    async def _asked(self, cluster: "Cluster", process: "Process", raw: bytes, digest: bytes) -> int | None:
        """Return the height at which a daemon says the payment is final; None where it does not say."""
        handlers = process.handlers
        if not handlers:
            return None
        height: int | None = None
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                nonlocal height
                try:
                    settled = await handlers["submit_and_wait"].call(AwaitedSubmission(raw, WAIT_S), _ignore)
                    assert isinstance(settled, Settled), "the method's result"
                    height = settled.height
                except ControlError:
                    height = await _final_at(process, digest)
                except StorageError as error:
                    # It serves, and can't read what it holds for kept.
                    cluster.violate(Violation(KEPT, f"{process.name}: {error}"), error)
                nursery.cancel_scope.cancel()

            async def hang_up() -> None:
                await process.until_killed()
                nursery.cancel_scope.cancel()

            nursery.start_soon(ask)
            nursery.start_soon(hang_up)
        return height if process.handlers is handlers else None


async def _final_at(process: "Process", digest: bytes) -> int | None:
    """Where it was refused because it is executed already, its daemon knows where."""
    if not process.handlers:
        return None
    try:
        found = await process.handlers["tx"].call(ByHash(digest), _ignore)
    except ControlError:
        return None
    assert isinstance(found, TransactionView), "the method's result"
    return found.height


async def _ignore(event: object) -> None:
    """Admission is no promise."""


def balances(addresses: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """What the genesis gives them."""
    return [(address, BALANCE) for address in addresses]
