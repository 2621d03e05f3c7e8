"""What arrives over a link, from cheap to dear: the replica is asked whether it wants it, then it is checked.

A double of the daemon's inbound (consensus_host/inbound.py): the same order, the same refusals.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from consensus import effects as fx
from consensus import inputs as happened
from consensus.blocks import block_digest
from consensus.inputs import Input

if TYPE_CHECKING:
    from consensus.simulation.validator import Validator


def admits(validator: "Validator", what: Input) -> bool:
    """Whether a message is to be fed to the replica. One that was forged is counted."""
    return ADMITS[type(what)](validator, what)


def _judged(validator: "Validator", good: bool) -> bool:
    if not good:
        validator.seen["forged"] += 1
    return good


def _vote(validator: "Validator", what: happened.VoteReceived) -> bool:
    """Its signature is checked when it could matter (PROTOCOL, Agreement 4)."""
    members = validator.replica.chain.validators(what.vote.height)
    return members is None or members.power(what.vote.voter) > 0


def _proposal(validator: "Validator", what: happened.ProposalReceived) -> bool:
    replica, proposal = validator.replica, what.proposal
    if not replica.wants_proposal(proposal):
        return False
    members = replica.chain.validators(proposal.height)
    good = members is not None and validator.cluster.signatures.proposal(proposal, members)
    if _judged(validator, good):
        validator.hear_proposal(proposal)
    return good


def _certificate(validator: "Validator", what: happened.CertificateReceived) -> bool:
    replica, certificate = validator.replica, what.certificate
    if not replica.wants_certificate(certificate):
        return False
    members = replica.chain.validators(certificate.height)
    if members is None:
        # It can't be checked here; sync finds out whether somebody is so far ahead.
        validator.fetching.catch_up(fx.CatchUp(certificate.height, what.link))
        return False
    return _judged(validator, validator.cluster.signatures.certificate(certificate, members))


def _block(validator: "Validator", what: happened.BlockReceived) -> bool:
    replica, block = validator.replica, what.block
    members = replica.chain.validators(block.height)
    rival = block.height < replica.height.height
    if members is None or (rival and not replica.wants_certificate(what.certificate)):
        return False
    signatures, value = validator.cluster.signatures, block_digest(block)
    return _judged(validator, signatures.decides(what.certificate, value, block.height, members))


def _batch(validator: "Validator", what: happened.BatchReceived) -> bool:
    if not validator.replica.lanes.wants(what.batch):
        return False
    return _judged(validator, validator.cluster.signatures.batch(what.batch))


def _acknowledgement(validator: "Validator", what: happened.AcknowledgementReceived) -> bool:
    replica, given = validator.replica, what.acknowledgement
    if given.author != replica.me or replica.height.validators.power(given.voter) == 0:
        return False
    if not replica.lanes.wants_acknowledgement(given):
        return False
    return _judged(validator, validator.cluster.signatures.acknowledgement(given))


def _evidence(validator: "Validator", what: happened.EvidenceReceived) -> bool:
    if not validator.replica.evidence.wants(what.evidence):
        return False
    return _judged(validator, validator.cluster.signatures.evidence(what.evidence))


def _tip_certificate(validator: "Validator", what: happened.TipCertificateReceived) -> bool:
    replica, certificate = validator.replica, what.certificate
    if not replica.lanes.wants_certificate(certificate):
        return False
    members, cluster = replica.height.validators, validator.cluster
    good = _judged(validator, cluster.signatures.tip_certificate(certificate, members))
    if good and validator.honest:
        cluster.invariants.tip_certified(validator.name, certificate, members)
    return good


ADMITS: dict[type[Input], Callable[["Validator", Any], bool]] = {
    happened.VoteReceived: _vote,
    happened.ProposalReceived: _proposal,
    happened.CertificateReceived: _certificate,
    happened.BlockReceived: _block,
    happened.BatchReceived: _batch,
    happened.AcknowledgementReceived: _acknowledgement,
    happened.TipCertificateReceived: _tip_certificate,
    happened.EvidenceReceived: _evidence,
}
"""Every input that comes over a link."""
