"""What is sent on to others, or again: certificates, blocks, votes, batches and proofs that are at hand."""

from collections.abc import Callable, Sequence

from consensus.effects import (
    SendBatchAgain,
    SendCertificate,
    SendCommitted,
    SendProposal,
    SendTipCertificate,
    SendVotes,
)
from consensus.evidence import Evidence
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.outbox import Outbox
from prsm_node.wire.frames import encode_message
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import Batch, Committed


class Sending:
    """Args:
    committed: gives a decided block of a height, if it is executed here.
    certified: told of the transactions in a certified batch.
    """

    def __init__(
        self,
        outbox: Outbox,
        batches: BatchStore,
        committed: Callable[[int], Committed | None],
        certified: Callable[[Sequence[bytes]], None],
    ) -> None:
        self._outbox = outbox
        self._batches = batches
        self._committed = committed
        self._certified = certified

    def certificate(self, effect: SendCertificate) -> None:
        message = encode_message(effect.certificate)
        if effect.link is not None:
            self._outbox.send(effect.link, Kind.CERTIFICATE, message)
            return
        for link in self._outbox.links():
            if self._outbox.validator_of(link) not in effect.besides:
                self._outbox.send(link, Kind.CERTIFICATE, message)

    def tip_certificate(self, effect: SendTipCertificate) -> None:
        stored = self._batches.get(effect.certificate.digest)
        if stored is not None:
            self._certified(stored.hashes)
        self._outbox.broadcast(Kind.TIP_CERTIFICATE, encode_message(effect.certificate))

    def committed(self, effect: SendCommitted) -> None:
        committed = self._committed(effect.height)
        if committed is not None:
            self._outbox.send(effect.link, Kind.COMMITTED, encode_message(committed))

    def proposal(self, effect: SendProposal) -> None:
        self._outbox.broadcast(Kind.PROPOSAL, encode_message(effect.proposal))

    def votes(self, effect: SendVotes) -> None:
        for vote in effect.votes:
            self._outbox.broadcast(Kind.VOTE, encode_message(vote))

    def batch_again(self, effect: SendBatchAgain) -> None:
        stored = self._batches.get(effect.digest)
        if stored is not None:
            self._outbox.broadcast(Kind.BATCH, encode_message(Batch(stored.header, stored.body)))

    def evidence(self, pieces: Sequence[Evidence]) -> None:
        for piece in pieces:
            self._outbox.broadcast(Kind.EVIDENCE, encode_message(piece))
