"""Signs for one validator. Nothing signed here leaves before the journal holds it: host.py sees to that."""

from msgspec.structs import replace

from consensus.blocks import CheckedProposal, Proposal, proposal_signed_bytes
from consensus.dissemination.acknowledgements import (
    Acknowledgement,
    CheckedAcknowledgement,
    acknowledgement_signed_bytes,
)
from consensus.dissemination.batches import BatchHeader, CheckedBatch, batch_signed_bytes
from consensus.votes import CheckedVote, Vote, vote_signed_bytes
from prsm_node.consensus_host.checks import Checks
from prsm_node.identity.ed25519 import SigningKey


class Signer:
    """Our own signature needs no check: what comes out counts as checked."""

    def __init__(self, network: bytes, key: SigningKey, checks: Checks) -> None:
        self._network = network
        self._key = key
        self._checks = checks

    @property
    def public(self) -> bytes:
        return self._key.public

    def vote(self, vote: Vote) -> CheckedVote:
        return CheckedVote(replace(vote, signature=self._sign(vote_signed_bytes(self._network, vote))))

    def proposal(self, proposal: Proposal) -> CheckedProposal:
        signature = self._key.sign(proposal_signed_bytes(self._network, proposal))
        return CheckedProposal(replace(proposal, signature=signature))

    def batch(self, header: BatchHeader) -> CheckedBatch:
        return CheckedBatch(
            replace(header, signature=self._key.sign(batch_signed_bytes(self._network, header)))
        )

    def acknowledgement(self, given: Acknowledgement) -> CheckedAcknowledgement:
        message = acknowledgement_signed_bytes(self._network, given.author, given.sequence, given.digest)
        return CheckedAcknowledgement(replace(given, signature=self._sign(message)))

    def _sign(self, message: bytes) -> bytes:
        signature = self._key.sign(message)
        self._checks.own(self._key.public, signature, message)
        return signature
