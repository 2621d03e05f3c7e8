"""Proposals that come before their height: few are kept, and nobody's flood takes the places of others."""

import msgspec

from consensus.blocks import Block, CheckedProposal, Proposal
from consensus.early import LINKS_MAX, PROPOSALS_MAX, EarlyMessages
from consensus.votes import Vote, VoteKind

KEYS = [bytes([i]) * 32 for i in range(4)]


def proposal(round_: int, time_ms: int = 1) -> CheckedProposal:
    proposer = KEYS[round_ % 4]
    block = Block(7, b"p" * 32, time_ms, proposer, (), (), b"r" * 32, b"v" * 32)
    return CheckedProposal(Proposal(round_, -1, proposer, block, None, b"s" * 64))


def kept(early: EarlyMessages) -> list[tuple[int, int]]:
    return sorted((kept.round, kept.block.time_ms) for _, kept in early.take()[0])


def test_a_proposal_sent_again_and_again_takes_one_place() -> None:
    early = EarlyMessages()
    for link in range(3 * PROPOSALS_MAX):
        signature = bytes([link]) * 64
        early.keep_proposal(link, CheckedProposal(msgspec.structs.replace(proposal(0), signature=signature)))
        assert not early.wants_proposal(proposal(0))
    for round_ in (1, 2, 3):
        assert early.wants_proposal(proposal(round_))
        early.keep_proposal(1, proposal(round_))
    assert kept(early) == [(0, 1), (1, 1), (2, 1), (3, 1)]


def test_a_proposer_of_many_blocks_takes_two_places_by_which_it_is_convicted() -> None:
    early = EarlyMessages()
    early.keep_proposal(1, proposal(4))
    for time_ms in range(1, 10):
        early.keep_proposal(1, proposal(0, time_ms))
    assert not early.wants_proposal(proposal(0, 10))
    early.keep_proposal(2, proposal(1))
    early.keep_proposal(2, proposal(2))
    assert kept(early) == [(0, 1), (0, 2), (1, 1), (2, 1)]


def test_of_more_than_fit_those_of_the_lowest_rounds_are_kept() -> None:
    early = EarlyMessages()
    for round_ in (9, 6, 3, 4, 1, 8):
        early.keep_proposal(1, proposal(round_))
    assert not early.wants_proposal(proposal(7))
    assert kept(early) == [(1, 1), (3, 1), (4, 1), (6, 1)]


def test_a_link_has_a_place_for_its_votes_however_many_strangers_came_before_or_come_after() -> None:
    early, vote = EarlyMessages(), Vote(VoteKind.PREVOTE, 7, 0, None, -1, 0, KEYS[0])
    early.keep_vote(1, vote, 6)
    for stranger in range(10, 10 + 2 * LINKS_MAX):
        early.keep_vote(stranger, vote, 6)
    early.keep_vote(2, vote, 6)
    links = {link for link, _ in early.take()[1]}
    assert {1, 2} <= links
    assert len(links) == LINKS_MAX
