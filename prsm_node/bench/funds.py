"""The funded wallet of a bench's own network, and what it pays the senders of a load."""

from collections.abc import Sequence
from pathlib import Path

from prsm_node.bench.report import BenchFailed
from prsm_node.cli.passphrase import passphrase_of
from prsm_node.control.client import Client
from prsm_node.control.views import AccountView, NetworkView, Settled
from prsm_node.home import Home
from prsm_node.identity import wallets
from prsm_node.identity.addresses import address_of
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.ledger.transactions import (
    OPERATIONS_MAX,
    Transfer,
    signing_bytes,
    unsigned_bytes,
    with_signature,
)

FUNDED_S = 30.0


class Purse:
    """A wallet that counts its own nonces."""

    def __init__(self, key: SigningKey, network: NetworkView, nonce: int) -> None:
        self.address = address_of(key.public)
        self.network = network
        self._key = key
        self._nonce = nonce

    def pay(self, to: bytes, amount: int) -> bytes:
        """Return a signed transfer."""
        return self.pay_many((Transfer(to, amount),))

    def pay_many(self, transfers: tuple[Transfer, ...]) -> bytes:
        unsigned = unsigned_bytes(self.address, self._nonce, self.network.fee_min * len(transfers), transfers)
        self._nonce += 1
        return with_signature(unsigned, self._key.sign(signing_bytes(self.network.genesis_hash, unsigned)))

    def fund(self, client: Client, receivers: Sequence[bytes], amount: int) -> None:
        """Give each `amount` and wait until it is final. Raise BenchFailed."""
        for first in range(0, len(receivers), OPERATIONS_MAX):
            transfers = tuple(Transfer(to, amount) for to in receivers[first : first + OPERATIONS_MAX])
            raw = self.pay_many(transfers)
            settled = client.ask(
                "submit_and_wait", Settled, FUNDED_S + 5, transaction=raw, timeout_s=FUNDED_S
            )
            if settled.outcome != "executed":
                raise BenchFailed(f"the senders could not be funded: {settled.outcome}")


def purse(home: Path, client: Client, place: int = 0) -> Purse:
    """The wallet at this place in the home's list, unlocked. Raise OperatorError."""
    found = wallets.listed(Home(home))
    if place >= len(found):
        raise BenchFailed(f"{home} has {len(found)} wallets to pay from; {place + 1} are needed")
    key = wallets.unlocked(Home(home), found[place].name, passphrase_of(Home(home)))
    network = client.ask("network", NetworkView)
    account = client.ask("account", AccountView, address=address_of(key.public))
    return Purse(key, network, account.next_nonce)
