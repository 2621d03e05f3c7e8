"""Checks: what becomes `Checked...`, what never does, and what is not checked twice."""

from msgspec.structs import replace

from consensus.blocks import Block, Proposal, block_digest
from consensus.certificates import Certificate, certificate_of
from consensus.dissemination.acknowledgements import Acknowledgement, TipCertificate
from consensus.guard import Step
from consensus.validators import ValidatorSet
from consensus.votes import CheckedVote, Vote, VoteKind
from prsm_node.consensus_host.checks import Checks, signed_place
from prsm_node.consensus_host.signer import Signer
from prsm_node.identity.ed25519 import SigningKey

NETWORK = b"n" * 32
VALUE = b"v" * 32
KEYS = [SigningKey.from_seed(bytes([i]) * 32) for i in range(1, 5)]
FOUR = ValidatorSet([(key.public, 1) for key in KEYS])


def signers(network: bytes = NETWORK) -> list[Signer]:
    return [Signer(network, key, Checks(network)) for key in KEYS]


def vote(by: int, kind: VoteKind = VoteKind.PRECOMMIT, network: bytes = NETWORK) -> CheckedVote:
    return signers(network)[by].vote(Vote(kind, 5, 0, VALUE, -1, 0, KEYS[by].public))


def block() -> Block:
    return Block(5, b"p" * 32, 1, KEYS[0].public, (), (), b"r" * 32, FOUR.hash)


def test_a_vote_counts_for_its_own_network_kind_and_content_only() -> None:
    checks = Checks(NETWORK)
    good = vote(0)
    assert checks.vote(good) == good
    assert checks.vote(vote(0, network=b"m" * 32)) is None
    assert checks.vote(replace(good, kind=VoteKind.PREVOTE)) is None
    assert checks.vote(replace(good, round=1)) is None
    assert checks.vote(replace(good, voter=KEYS[1].public)) is None
    assert checks.vote(replace(good, signature=b"")) is None


def test_marks_where_they_mean_nothing_are_refused_before_any_signature() -> None:
    signed = signers()[0].vote(Vote(VoteKind.PRECOMMIT, 5, 0, None, -1, 3, KEYS[0].public))
    assert Checks(NETWORK).vote(signed) is None


def test_the_highest_place_that_a_key_signed_is_remembered() -> None:
    checks = Checks(NETWORK)
    checks.vote(vote(0, VoteKind.PRECOMMIT))
    checks.vote(vote(0, VoteKind.PREVOTE))
    assert signed_place(checks.signed[KEYS[0].public]) == (5, 0, Step.PRECOMMIT)


def test_a_certificate_needs_a_quorum_of_distinct_members_whose_signatures_hold() -> None:
    checks = Checks(NETWORK)
    good = certificate_of([vote(0), vote(1), vote(2)])
    assert checks.certificate(good, FOUR) == good
    assert checks.certificate(replace(good, votes=good.votes[:2]), FOUR) is None
    assert checks.certificate(replace(good, votes=(*good.votes[:2], good.votes[0])), FOUR) is None
    forged = replace(good.votes[2], signature=bytes(64))
    assert checks.certificate(replace(good, votes=(*good.votes[:2], forged)), FOUR) is None
    assert checks.certificate(replace(good, value=b"w" * 32), FOUR) is None
    stranger = SigningKey.from_seed(b"s" * 32)
    others = ValidatorSet([(key.public, 1) for key in (*KEYS[:2], stranger)])
    assert checks.certificate(good, others) is None, "one of its voters is no member"


def test_a_proposal_carries_the_polka_that_it_names_and_no_other() -> None:
    checks, proposer = Checks(NETWORK), signers()[0]
    value = block_digest(block())

    def prevote(by: int, of: bytes) -> CheckedVote:
        return signers()[by].vote(Vote(VoteKind.PREVOTE, 5, 0, of, -1, 0, KEYS[by].public))

    polka = certificate_of([prevote(by, value) for by in range(3)])
    other = certificate_of([prevote(by, b"o" * 32) for by in range(3)])
    fresh = proposer.proposal(Proposal(0, -1, KEYS[0].public, block()))
    again = proposer.proposal(Proposal(1, 0, KEYS[0].public, block(), polka))
    assert checks.proposal(fresh, FOUR) == fresh
    assert checks.proposal(again, FOUR) == again
    assert checks.proposal(replace(again, polka=None), FOUR) is None
    assert checks.proposal(replace(again, polka=other), FOUR) is None
    assert checks.proposal(replace(fresh, polka=polka), FOUR) is None
    assert checks.proposal(replace(fresh, proposer=KEYS[1].public), FOUR) is None


def test_a_tip_certificate_is_a_quorum_of_acknowledgements_of_one_batch() -> None:
    checks = Checks(NETWORK)
    author = KEYS[3].public
    given = [each.acknowledgement(Acknowledgement(author, 7, VALUE, each.public)) for each in signers()[:3]]
    certificate = TipCertificate(author, 7, VALUE, tuple((one.voter, one.signature) for one in given))
    assert checks.acknowledgement(given[0]) == given[0]
    assert checks.acknowledgement(replace(given[0], sequence=8)) is None
    assert checks.tip_certificate(certificate, FOUR) == certificate
    assert checks.tip_certificate(replace(certificate, digest=b"w" * 32), FOUR) is None
    assert checks.tip_certificate(replace(certificate, votes=certificate.votes[:2]), FOUR) is None
    twice = (*certificate.votes[:2], certificate.votes[0])
    assert checks.tip_certificate(replace(certificate, votes=twice), FOUR) is None


def test_own_signatures_and_good_ones_are_not_checked_again_but_forged_ones_are() -> None:
    checks = Checks(NETWORK)
    signer = Signer(NETWORK, KEYS[0], checks)
    message = b"content"
    assert not checks.signature(KEYS[0].public, bytes(64), message)
    own = signer.vote(Vote(VoteKind.PREVOTE, 1, 0, VALUE, -1, 0, KEYS[0].public))
    assert checks.vote(own) == own
    assert not checks.signature(KEYS[0].public, own.signature, message)


def test_certificates_that_no_quorum_could_have_made_cost_no_signature_check() -> None:
    empty = Certificate(VoteKind.PRECOMMIT, 5, 0, VALUE, ())
    assert Checks(NETWORK).certificate(empty, FOUR) is None
