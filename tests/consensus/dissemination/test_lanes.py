"""Lanes: what is acknowledged, what is certified, and what a faulty author can not get (PROTOCOL, Lanes)."""

from itertools import product

from msgspec.structs import replace

from consensus.blocks import Tip
from consensus.dissemination.acknowledgements import (
    Acknowledgement,
    CheckedAcknowledgement,
    CheckedTipCertificate,
    TipCertificate,
)
from consensus.dissemination.batches import EMPTY_LANE, BatchHeader, CheckedBatch, batch_digest
from consensus.dissemination.lanes import Lanes
from consensus.dissemination.tips import TipsVerdict, judge_tips, next_tips
from consensus.effects import (
    CastAcknowledgement,
    CastBatch,
    Effect,
    FetchBatch,
    ReportEvidence,
    SendTipCertificate,
)
from consensus.evidence import AcknowledgementEquivocation, BatchEquivocation, clashes, guilty
from consensus.quorum import is_quorum
from consensus.validators import ValidatorSet

A, B, C, D = (bytes([letter]) * 32 for letter in b"ABCD")
FOUR = ValidatorSet([(key, 1) for key in (A, B, C, D)])
LINK = 7


def lanes(me: bytes = B, window: int = 4) -> Lanes:
    made = Lanes(me, FOUR, window, advance_max=window)
    made.allow_acknowledging()
    return made


def batch(sequence: int, parent: bytes = EMPTY_LANE, author: bytes = A, body: int = 0) -> CheckedBatch:
    return CheckedBatch(BatchHeader(author, sequence, parent, bytes([body]) * 32, b"s" * 64))


def chain(length: int) -> list[CheckedBatch]:
    made: list[CheckedBatch] = []
    for sequence in range(1, length + 1):
        made.append(batch(sequence, batch_digest(made[-1]) if made else EMPTY_LANE))
    return made


def certificate(of: CheckedBatch) -> CheckedTipCertificate:
    votes = tuple((key, b"s" * 64) for key in (A, B, C))
    return CheckedTipCertificate(TipCertificate(of.author, of.sequence, batch_digest(of), votes))


def acknowledged(effects: list[Effect]) -> list[int]:
    return [effect.acknowledgement.sequence for effect in effects if isinstance(effect, CastAcknowledgement)]


def test_a_batch_that_extends_the_committed_tip_is_acknowledged() -> None:
    assert acknowledged(lanes().receive_batch(batch(1), LINK)) == [1]


def test_a_batch_without_its_parent_waits_for_it_and_then_both_are_acknowledged() -> None:
    first, second = chain(2)
    ours = lanes()
    assert ours.receive_batch(second, LINK) == [FetchBatch(A, batch_digest(first), LINK)]
    assert acknowledged(ours.receive_batch(first, LINK)) == [1, 2]


def test_until_signing_is_allowed_acknowledgements_wait_and_then_each_sequence_gets_its_first() -> None:
    first, second = chain(2)
    ours = Lanes(B, FOUR, window=4, advance_max=4)
    assert ours.receive_batch(second, LINK) == [FetchBatch(A, batch_digest(first), LINK)]
    assert ours.receive_batch(first, LINK) == []
    (found,) = ours.receive_batch(batch(1, body=2), LINK)
    assert found == ReportEvidence(BatchEquivocation(first=first, second=batch(1, body=2)))
    given = ours.allow_acknowledging()
    assert [e.acknowledgement.digest for e in given if isinstance(e, CastAcknowledgement)] == [
        batch_digest(first),
        batch_digest(second),
    ]
    assert ours.allow_acknowledging() == []


def test_what_a_block_ordered_meanwhile_is_not_acknowledged_any_more() -> None:
    first, second = chain(2)
    ours = Lanes(B, FOUR, window=4, advance_max=4)
    ours.receive_batch(first, LINK)
    ours.receive_batch(second, LINK)
    ours.commit((Tip(A, 1, batch_digest(first)),))
    assert acknowledged(ours.allow_acknowledging()) == [2]


def test_a_second_digest_at_one_sequence_is_evidence_and_never_acknowledged() -> None:
    ours = lanes()
    ours.receive_batch(batch(1, body=1), LINK)
    effects = ours.receive_batch(batch(1, body=2), LINK)
    assert effects == [ReportEvidence(BatchEquivocation(first=batch(1, body=1), second=batch(1, body=2)))]


def test_a_batch_sent_again_gets_the_same_acknowledgement_again() -> None:
    ours = lanes()
    assert ours.receive_batch(batch(1), LINK) == ours.receive_batch(batch(1), LINK)


def test_nobody_acknowledges_beyond_the_window() -> None:
    ours = lanes(window=3)
    got = [acknowledged(ours.receive_batch(each, LINK)) for each in chain(5)]
    assert got == [[1], [2], [3], [], []]


def test_a_quorum_of_acknowledgements_certifies_our_batch_once() -> None:
    ours = lanes(me=A)
    (cast,) = ours.seal(b"b" * 32)
    assert isinstance(cast, CastBatch)
    made = CheckedBatch(cast.header)

    def given(voter: bytes) -> CheckedAcknowledgement:
        return CheckedAcknowledgement(Acknowledgement(A, 1, batch_digest(made), voter, b"s" * 64))

    assert ours.batch_cast(made, given(A)) == []
    assert ours.receive_acknowledgement(given(B)) == []
    assert ours.receive_acknowledgement(given(B)) == [], "one voter counts once"
    (sent,) = ours.receive_acknowledgement(given(C))
    assert isinstance(sent, SendTipCertificate)
    assert len(sent.certificate.votes) == 3
    assert ours.receive_acknowledgement(given(D)) == []
    assert next_tips(ours) == (Tip(A, 1, batch_digest(made)),)


def test_an_author_stops_at_its_window_and_goes_on_when_a_block_orders_its_lane() -> None:
    ours = lanes(me=A, window=2)
    heads = []
    while ours.room():
        (cast,) = ours.seal(b"b" * 32)
        assert isinstance(cast, CastBatch)
        heads.append(cast.header)
    assert len(heads) == 2
    ours.commit((Tip(A, 1, batch_digest(heads[0])),))
    assert ours.room() == 1


def test_a_tip_without_its_certificate_is_fetched_before_a_prevote() -> None:
    first, second = chain(2)
    ours = lanes()
    ours.receive_batch(first, LINK)
    tips = (Tip(A, 2, batch_digest(second)),)
    assert judge_tips(ours, tips) == (TipsVerdict.UNCERTIFIED, tips)
    assert ours.receive_certificate(certificate(second), LINK) == [FetchBatch(A, batch_digest(second), LINK)]
    assert judge_tips(ours, tips) == (TipsVerdict.VALID, ())


def test_a_block_never_moves_a_lane_back_nor_lists_it_twice_nor_too_far() -> None:
    made = chain(3)
    ours = lanes(window=2)
    ours.receive_certificate(certificate(made[0]), LINK)
    tip = Tip(A, 1, batch_digest(made[0]))
    assert judge_tips(ours, (tip, tip))[0] is TipsVerdict.INVALID
    assert judge_tips(ours, (Tip(A, 3, batch_digest(made[2])),))[0] is TipsVerdict.INVALID
    assert judge_tips(ours, (Tip(b"x" * 32, 1, tip.digest),))[0] is TipsVerdict.INVALID
    ours.commit((tip,))
    assert judge_tips(ours, (tip,))[0] is TipsVerdict.INVALID


def test_a_rival_certified_at_a_sequence_we_acknowledged_otherwise_can_still_be_ordered() -> None:
    shown, rival = batch(1, body=1), batch(1, body=2)
    ours = lanes()
    ours.receive_batch(shown, LINK)
    assert ours.receive_certificate(certificate(rival), LINK) == [FetchBatch(A, batch_digest(rival), LINK)]
    assert acknowledged(ours.receive_batch(rival, LINK)) == []
    ours.commit((Tip(A, 1, batch_digest(rival)),))
    child = batch(2, batch_digest(rival))
    assert acknowledged(ours.receive_batch(child, LINK)) == [2]


def test_what_the_journal_held_is_taken_back_and_not_acknowledged_otherwise() -> None:
    ours = lanes()
    stored = batch(1, body=1)
    given = CheckedAcknowledgement(Acknowledgement(A, 1, batch_digest(stored), B, b"s" * 64))
    ours.restore_batch(stored, given)
    assert acknowledged(ours.receive_batch(batch(1, body=2), LINK)) == []


def test_an_author_goes_on_above_what_its_journal_held() -> None:
    own = batch(1, author=A)
    ours = lanes(me=A)
    ours.restore_batch(own, CheckedAcknowledgement(Acknowledgement(A, 1, batch_digest(own), A, b"s" * 64)))
    assert ours.uncertified() == [batch_digest(own)]
    (cast,) = ours.seal(b"b" * 32)
    assert isinstance(cast, CastBatch)
    assert (cast.header.sequence, cast.header.parent) == (2, batch_digest(own))


def test_who_is_a_quorum_alone_certifies_after_a_restart_what_it_acknowledged_before() -> None:
    own = batch(1, author=A)
    given = CheckedAcknowledgement(Acknowledgement(A, 1, batch_digest(own), A, b"s" * 64))
    for validators, certified in ((ValidatorSet([(A, 1)]), [batch_digest(own)]), (FOUR, [])):
        ours = Lanes(A, validators, window=4, advance_max=4)
        ours.restore_batch(own, given)
        effects = ours.certify_held()
        assert [e.certificate.digest for e in effects if isinstance(e, SendTipCertificate)] == certified
        assert ours.certified_work() == bool(certified)


def test_only_a_quorum_keeps_two_digests_of_one_sequence_from_both_being_certified() -> None:
    """models/lanes.py said anew: all ways in which three honest of four may acknowledge two digests."""
    both = {"third": 0, "quorum": 0}
    for pattern in product((0, 1, None), repeat=3):
        weights = [1 + sum(choice == digest for choice in pattern) for digest in (0, 1)]
        both["quorum"] += all(is_quorum(weight, 4) for weight in weights)
        both["third"] += all(3 * weight > 4 for weight in weights)
    assert both == {"third": 12, "quorum": 0}


def test_orphans_of_a_faulty_author_are_few_and_its_other_batches_not_wanted() -> None:
    ours = lanes(window=4)
    orphans = [batch(2, bytes([number]) * 32) for number in range(10)]
    for orphan in orphans:
        if ours.wants(orphan):
            ours.receive_batch(orphan, LINK)
    kept = [orphan for orphan in orphans if ours.keeps(A, batch_digest(orphan))]
    assert kept == orphans[:4]
    assert ours.wants(batch(1)), "what connects is wanted all the same"


def test_a_second_child_of_a_missing_parent_does_not_push_out_the_first() -> None:
    ours = lanes()
    first, rival = batch(2, bytes(32), body=1), batch(2, bytes(32), body=2)
    ours.receive_batch(first, LINK)
    assert ours.receive_batch(rival, LINK) == []
    assert (ours.keeps(A, batch_digest(first)), ours.keeps(A, batch_digest(rival))) == (True, False)


def test_only_the_first_acknowledgement_of_each_voter_is_wanted() -> None:
    ours = lanes(me=A)
    own = batch(1)
    given = [Acknowledgement(A, 1, batch_digest(own), voter, b"s" * 64) for voter in (A, B)]
    assert not ours.wants_acknowledgement(given[1])
    ours.batch_cast(own, CheckedAcknowledgement(given[0]))
    assert ours.wants_acknowledgement(given[1])
    ours.receive_acknowledgement(CheckedAcknowledgement(given[1]))
    assert not ours.wants_acknowledgement(given[1])


def test_who_acknowledges_another_batch_where_it_acknowledged_ours_is_convicted_once() -> None:
    ours, own = lanes(me=A), batch(1)
    given = {
        v: CheckedAcknowledgement(Acknowledgement(A, 1, batch_digest(own), v, b"s" * 64)) for v in FOUR.powers
    }
    rival = {
        v: CheckedAcknowledgement(replace(given[v], digest=batch_digest(batch(1, body=1)))) for v in given
    }
    assert not ours.wants_acknowledgement(rival[B]), "of a place where we made nothing"
    ours.batch_cast(own, given[A])
    assert not ours.wants_acknowledgement(rival[B]), "one alone proves nothing"
    ours.receive_acknowledgement(given[B])
    assert ours.wants_acknowledgement(rival[B])
    found = ReportEvidence(AcknowledgementEquivocation(first=given[B], second=rival[B]))
    assert ours.receive_acknowledgement(rival[B]) == [found]
    assert clashes(found.evidence)
    assert guilty(found.evidence) == B
    assert not ours.wants_acknowledgement(CheckedAcknowledgement(replace(rival[B], digest=bytes(32))))
    ours.receive_acknowledgement(given[C])
    assert ours.uncertified() == []
    assert ours.wants_acknowledgement(rival[C]), "a certificate holds what its voters gave"
    assert not ours.wants_acknowledgement(given[C])
    assert not ours.wants_acknowledgement(rival[D]), "it gave nothing else"
    ours.commit((Tip(A, 1, batch_digest(own)),))
    assert not ours.wants_acknowledgement(rival[C])


def test_on_a_rival_of_what_was_acknowledged_nothing_is_until_a_quorum_vouches_for_it() -> None:
    """Nobody here would have it after a crash, though its child were certified."""
    ours, rival = batch(1), batch(1, body=1)
    child = batch(2, batch_digest(rival))
    mine = lanes()
    assert acknowledged(mine.receive_batch(ours, LINK)) == [1]
    mine.receive_batch(child, LINK)
    assert acknowledged(mine.receive_batch(rival, LINK)) == []
    assert acknowledged(mine.receive_batch(child, LINK)) == []
    mine.receive_certificate(certificate(rival), LINK)
    assert acknowledged(mine.receive_batch(child, LINK)) == [2]


FIVE = ValidatorSet([(key, 1) for key in (A, B, C, D, b"E" * 32)])
WITHOUT_A = ValidatorSet([(key, 1) for key in (B, C, D, b"E" * 32)])


def test_who_left_and_returns_goes_on_where_its_lane_was_and_gets_no_second_acknowledgement() -> None:
    first, second, rival = *chain(2), batch(2, batch_digest(batch(1)), body=1)
    mine = lanes()
    mine.receive_batch(first, LINK)
    mine.commit((Tip(A, 1, batch_digest(first)),))
    assert acknowledged(mine.receive_batch(second, LINK)) == [2]
    mine.change_set(WITHOUT_A)
    assert judge_tips(mine, (Tip(A, 2, batch_digest(second)),))[0] is TipsVerdict.INVALID
    mine.change_set(FIVE)
    assert acknowledged(mine.receive_batch(rival, LINK)) == []
    assert acknowledged(mine.receive_batch(second, LINK)) == [2]


def test_a_restart_keeps_the_lane_of_one_who_left_closed_and_what_was_acknowledged_there() -> None:
    first, rival = batch(1), batch(1, body=1)
    mine = Lanes(B, WITHOUT_A, window=4, advance_max=4)
    mine.allow_acknowledging()
    given = CheckedAcknowledgement(Acknowledgement(A, 1, batch_digest(first), B))
    mine.restore_batch(first, given)
    assert mine.lane(A) is None
    mine.change_set(FIVE)
    assert acknowledged(mine.receive_batch(rival, LINK)) == []


def test_a_certificate_that_is_no_quorum_of_the_new_set_is_asked_for_again() -> None:
    """Who left counts no more, and nobody takes a certificate with its name in it."""
    mine = lanes(me=B)
    (cast,) = mine.seal(b"1" * 32)
    assert isinstance(cast, CastBatch)
    own = CheckedBatch(cast.header)
    digest = batch_digest(own)

    def given(voter: bytes) -> CheckedAcknowledgement:
        return CheckedAcknowledgement(Acknowledgement(B, 1, digest, voter, b"s"))

    mine.batch_cast(own, given(B))
    mine.receive_acknowledgement(given(A))
    assert mine.receive_acknowledgement(given(C)) != []
    mine.change_set(WITHOUT_A)
    assert not mine.certified_work()
    assert mine.uncertified() == [digest]
    (sent,) = mine.receive_acknowledgement(given(D))
    assert isinstance(sent, SendTipCertificate)
    assert [voter for voter, _ in sent.certificate.votes] == [B, C, D]


def test_who_left_certifies_nothing_until_it_returns() -> None:
    mine = lanes(me=A)
    (cast,) = mine.seal(b"1" * 32)
    assert isinstance(cast, CastBatch)
    digest = batch_digest(cast.header)
    mine.change_set(WITHOUT_A)
    own = CheckedBatch(cast.header)
    mine.batch_cast(own, CheckedAcknowledgement(Acknowledgement(A, 1, digest, A)))
    for voter in (B, C, D):
        given = CheckedAcknowledgement(Acknowledgement(A, 1, digest, voter, b"s"))
        assert mine.receive_acknowledgement(given) == []
    assert mine.overdue() == mine.overdue() == []
    mine.change_set(FIVE)
    mine.overdue()
    assert mine.overdue() == [digest]


def test_two_digests_certified_at_one_sequence_convict_who_acknowledged_both() -> None:
    ours, first, rival = lanes(), batch(1), batch(1, body=1)
    ours.receive_certificate(certificate(first), LINK)
    votes = tuple((key, b"s" * 64) for key in (B, C, D))
    second = CheckedTipCertificate(TipCertificate(A, 1, batch_digest(rival), votes))
    assert ours.wants_certificate(second)
    reports = ours.receive_certificate(second, LINK)
    found = [effect.evidence for effect in reports if isinstance(effect, ReportEvidence)]
    assert [guilty(piece) for piece in found] == [B, C]
    assert all(clashes(piece) for piece in found)
    assert not ours.wants_certificate(second), "once"
    lane = ours.lane(A)
    assert lane is not None
    assert lane.certificates[1].digest == batch_digest(first), "the one we saw stays"
