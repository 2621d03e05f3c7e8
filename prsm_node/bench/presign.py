"""Senders and their transfers, signed by as many processes as there are cores, at 45 us a transfer."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from itertools import chain
from multiprocessing import get_context
from typing import Final

from prsm_node.bench.load import Signed
from prsm_node.bench.report import machine
from prsm_node.identity.addresses import address_of
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.ledger.transactions import (
    Transfer,
    signing_bytes,
    unsigned_bytes,
    with_signature,
)

AMOUNT: Final = 1


def sender_key(run: int, sender: int) -> SigningKey:
    """A key of this bench alone: its networks are gone when it ends."""
    return SigningKey.from_seed(sha256(b"prsm bench %d %d" % (run, sender)).digest())


def addresses(run: int, senders: int) -> list[bytes]:
    return [address_of(sender_key(run, sender).public) for sender in range(senders)]


class Signers:
    """Processes that sign."""

    def __init__(self, pool: ProcessPoolExecutor, workers: int) -> None:
        self._pool = pool
        self._workers = workers

    def transfers(
        self, network: bytes, run: int, senders: int, count: int, fee: int, nodes: int
    ) -> list[Signed]:
        """`count` transfers in the order to send them: the senders take turns, each stays at one node."""
        shares = [range(worker, senders, self._workers) for worker in range(self._workers)]
        jobs = [self._pool.submit(_sign, network, run, share, senders, count, fee, nodes) for share in shares]
        by_sender = dict(chain.from_iterable(job.result() for job in jobs))
        return [by_sender[i % senders][i // senders] for i in range(count)]


@contextmanager
def signers() -> Iterator[Signers]:
    workers = machine().cores
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield Signers(pool, workers)


def _sign(
    network: bytes, run: int, share: range, senders: int, count: int, fee: int, nodes: int
) -> list[tuple[int, list[Signed]]]:
    receivers = addresses(run, senders)
    made = []
    for sender in share:
        key = sender_key(run, sender)
        operations = (Transfer(receivers[(sender + 1) % senders], AMOUNT),)
        signed = []
        for nonce in range(len(range(sender, count, senders))):
            unsigned = unsigned_bytes(receivers[sender], nonce, fee, operations)
            raw = with_signature(unsigned, key.sign(signing_bytes(network, unsigned)))
            signed.append(Signed(sender % nodes, raw, sha256(raw).digest()))
        made.append((sender, signed))
    return made
