"""Replicas together: agreement and lanes joined, over a network that loses and a disk that forgets."""

import gc
import weakref
from random import Random

import msgspec
import pytest

from consensus.blocks import Block, CheckedProposal, Proposal, Tip, block_digest
from consensus.certificates import Certificate, CertificateVote, CheckedCertificate, votes_of
from consensus.chain import ChainStart
from consensus.effects import (
    Decide,
    Effect,
    FetchBlock,
    FetchTipCertificate,
    Halt,
    ReportEvidence,
    StrengthenCommit,
)
from consensus.evidence import guilty
from consensus.guard import Guard
from consensus.inputs import (
    BlockExecuted,
    BlockReceived,
    CertificateReceived,
    Input,
    ProposalReceived,
    VotesChecked,
)
from consensus.open_height import ROUNDS_AHEAD
from consensus.replica import Replica
from consensus.rules import Rules
from consensus.votes import CheckedVote, VoteKind
from tests.consensus.replica_cluster import Cluster


def test_an_idle_network_makes_only_heartbeats() -> None:
    cluster = Cluster(heartbeat_ms=5_000).start()
    cluster.run_for(seconds=26)
    assert cluster.heights() == [5, 5, 5, 5]


def test_a_batch_is_ordered_at_once_and_its_root_named_two_blocks_later() -> None:
    cluster = Cluster(heartbeat_ms=60_000).start()
    cluster.seal(2, body=1)
    cluster.run_for(seconds=1)
    assert cluster.ordered() == 1
    assert cluster.heights() == [3, 3, 3, 3]


def test_one_validator_alone_makes_blocks_when_there_is_work() -> None:
    cluster = Cluster(validators=1, heartbeat_ms=60_000).start()
    for body in range(20):
        cluster.seal(0, body)
        cluster.run_for(seconds=0.1)
    assert cluster.ordered() == 20


@pytest.mark.parametrize("seed", range(8))
def test_all_batches_are_ordered_on_a_lossy_network(seed: int) -> None:
    cluster = Cluster(seed=seed, loss=0.1).start()
    for body in range(40):
        cluster.seal(body % 4, body)
        cluster.run_for(seconds=0.05)
    cluster.run_for(seconds=60)
    assert cluster.ordered() == 40
    assert min(cluster.heights()) >= max(cluster.heights()) - 1


@pytest.mark.parametrize("seed", range(8))
def test_three_go_on_without_the_fourth_which_then_returns_and_catches_up(seed: int) -> None:
    cluster = Cluster(seed=seed).start()
    for body in range(60):
        if body == 15:
            cluster.peers[seed % 4].crash()
        if body == 40:
            cluster.peers[seed % 4].start()
        cluster.seal(body % 4, body)
        cluster.run_for(seconds=0.1)
    cluster.run_for(seconds=30)
    assert min(cluster.heights()) >= max(cluster.heights()) - 1
    assert cluster.ordered() >= 50


@pytest.mark.parametrize("seed", range(8))
def test_no_crash_at_any_moment_makes_anyone_sign_twice(seed: int) -> None:
    cluster, random = Cluster(seed=seed, loss=0.05).start(), Random(seed)
    for body in range(80):
        victim = cluster.peers[random.randrange(4)]
        if not victim.up:
            victim.start()
        elif random.random() < 0.3:
            victim.crash()
        cluster.seal(body % 4, body)
        cluster.run_for(seconds=random.uniform(0.005, 0.2))
    for peer in cluster.peers:
        if not peer.up:
            peer.start()
    cluster.run_for(seconds=60)
    assert min(cluster.heights()) >= max(cluster.heights()) - 1


def test_a_cut_off_validator_decides_nothing_and_then_catches_up() -> None:
    cluster = Cluster(seed=7, heartbeat_ms=1_000).start()
    cluster.cut({0}, {1, 2, 3})
    cluster.run_for(seconds=20)
    behind, ahead = cluster.heights()[0], max(cluster.heights())
    assert behind == 0
    assert ahead >= 5
    cluster.heal()
    cluster.run_for(seconds=20)
    assert min(cluster.heights()) >= max(cluster.heights()) - 1


def test_a_network_cut_in_half_stops_and_goes_on_when_it_heals() -> None:
    cluster = Cluster(seed=3, heartbeat_ms=1_000).start()
    cluster.run_for(seconds=3)
    cluster.cut({0, 1}, {2, 3})
    cluster.run_for(seconds=2)
    stood = max(cluster.heights())
    cluster.run_for(seconds=20)
    assert max(cluster.heights()) == stood
    cluster.heal()
    cluster.run_for(seconds=20)
    assert min(cluster.heights()) > stood


def test_votes_that_reach_only_one_validator_are_handed_on_by_it() -> None:
    """Agreement 1 and 2: of three that are needed, two never hear each other; the third hands on what it
    counted, certificates at once and the votes of a failed round when its height lasts."""
    cluster = Cluster(seed=5, heartbeat_ms=1_000).start()
    cluster.run_for(seconds=2)
    cluster.peers[2].crash()
    cluster.cut({1}, {3})
    before = max(cluster.heights())
    cluster.run_for(seconds=90)
    assert min(cluster.heights()[i] for i in (0, 1, 3)) >= before + 5


def test_who_has_voted_above_a_height_is_not_sent_its_commit() -> None:
    cluster = Cluster(seed=1, heartbeat_ms=60_000).start()
    for body in range(20):
        cluster.seal(body % 4, body)
        cluster.run_for(seconds=0.2)
    sent = sum(peer.seen["certificates sent"] for peer in cluster.peers)
    decided = sum(cluster.heights())
    # Polka and commit of each decision to three others would be six.
    assert sent <= 4 * decided, f"{sent} certificates sent for {decided} decisions"


def test_blocks_that_order_much_are_paced_and_lone_ones_are_not() -> None:
    def blocks(transactions: int) -> int:
        cluster = Cluster(seed=2, heartbeat_ms=60_000)
        cluster.transactions_a_batch = transactions
        cluster.start()
        for body in range(200):
            cluster.seal(body % 4, body)
            cluster.run_for(seconds=0.02)
        return max(cluster.heights())

    assert blocks(transactions=100) <= 30, "4 s hold 26 blocks of 150 ms"
    assert blocks(transactions=1) > 35


def test_who_meets_a_second_decision_stops_and_shows_both_with_the_polkas() -> None:
    cluster = Cluster(heartbeat_ms=1_000).start()
    cluster.run_for(seconds=3)
    replica = cluster.peers[0].replica
    _, commit = cluster.peers[0].blocks[-1]
    rival = CheckedCertificate(msgspec.structs.replace(commit, value=b"r" * 32))
    assert not replica.wants_certificate(commit)
    assert replica.wants_certificate(rival)
    (halt,) = replica.step(CertificateReceived(1, rival), cluster.now_ms)
    assert isinstance(halt, Halt)
    first, second, *polkas = halt.proof
    assert (first.value, second) == (commit.value, rival)
    assert {polka.value for polka in polkas} == {commit.value}


def test_two_proposals_of_a_round_convict_while_the_first_waits_for_a_certificate() -> None:
    cluster = Cluster(heartbeat_ms=60_000).start()
    replica = cluster.peers[0].replica
    proposer, author = cluster.validators.proposer(1, 0), cluster.peers[1].key

    def proposal(digest: bytes) -> CheckedProposal:
        block = Block(
            height=1,
            parent=cluster.genesis,
            time_ms=cluster.now_ms,
            proposer=proposer,
            tips=(Tip(author, 1, digest),),
            evidence=(),
            state_root=cluster.genesis,
            next_validators=cluster.validators.hash,
        )
        return CheckedProposal(Proposal(0, -1, proposer, block))

    def fed(digest: bytes) -> list[Effect]:
        return replica.step(ProposalReceived(1, proposal(digest)), cluster.now_ms)

    assert any(isinstance(effect, FetchTipCertificate) for effect in fed(b"a" * 32))
    (report,) = (effect for effect in fed(b"b" * 32) if isinstance(effect, ReportEvidence))
    assert guilty(report.evidence) == proposer
    assert replica.evidence.pieces() == (report.evidence,)
    assert not any(isinstance(effect, ReportEvidence) for effect in fed(b"c" * 32)), "again"


def a_follower_of_blocks() -> tuple[Cluster, Replica]:
    """Return a cluster with some blocks, and a replica at the first height that knows three heights' sets."""
    cluster = Cluster(heartbeat_ms=1_000).start()
    cluster.run_for(seconds=5)
    sets = dict.fromkeys((1, 2, 3), cluster.validators)
    start = ChainStart(0, cluster.genesis, cluster.start_ms - 1, (), {0: cluster.genesis}, sets)
    return cluster, Replica(None, Rules(), start, Guard())


def test_precommits_that_come_while_a_decision_waits_for_execution_are_in_its_certificate() -> None:
    cluster, replica = a_follower_of_blocks()
    members = cluster.validators

    def fed(happened: Input) -> list[Effect]:
        return [e for e in replica.step(happened, cluster.now_ms) if isinstance(e, Decide | StrengthenCommit)]

    def decided(height: int) -> list[Effect]:
        block, commit = cluster.peers[0].blocks[height - 1]
        quorum = CheckedCertificate(msgspec.structs.replace(commit, votes=commit.votes[:3]))
        return fed(BlockReceived(1, block, quorum))

    assert [len(decided(height)) for height in (1, 2)] == [1, 1]
    assert decided(3) == [], "the set of height 4 is known when height 1 is executed"
    for commit in (validator.blocks[2][1] for validator in cluster.peers):
        assert fed(VotesChecked(tuple(CheckedVote(vote) for vote in votes_of(commit)))) == [], (
            "no decision yet"
        )
    (decide,) = fed(BlockExecuted(1, cluster.genesis, 0, members.pairs()))
    assert isinstance(decide, Decide)
    late = {member.voter for v in cluster.peers for member in v.blocks[2][1].votes}
    assert {member.voter for member in decide.certificate.votes} == late == set(members.powers)


def test_a_block_with_a_quorum_is_taken_from_any_round_once() -> None:
    """Seen from afar it waits for execution, where one for each of its proposer's rounds filled memory."""
    cluster, replica = a_follower_of_blocks()
    members = cluster.validators
    for block, commit in cluster.peers[0].blocks[:2]:
        replica.step(BlockReceived(1, block, commit), cluster.now_ms)
    block, commit = cluster.peers[0].blocks[2]
    replica.step(CertificateReceived(1, commit), cluster.now_ms)
    wanted = 0
    for round_ in range(1_000, 2_000):
        proposal = CheckedProposal(Proposal(round_, -1, members.proposer(3, round_), block))
        if replica.wants_proposal(proposal):
            wanted += 1
            replica.step(ProposalReceived(1, proposal), cluster.now_ms)
    assert wanted == 1


class WatchedBlock(Block, frozen=True, weakref=True):
    """Tells whether anybody holds it."""


@pytest.mark.parametrize("tips", [(), (Tip(b"a" * 32, 1, b"t" * 32),)], ids=["judged", "waiting"])
@pytest.mark.parametrize("root", [b"", b"r" * 32], ids=["our root", "another root"])
def test_a_proposer_of_all_rounds_to_come_holds_few_blocks(tips: tuple[Tip, ...], root: bytes) -> None:
    cluster = Cluster(heartbeat_ms=60_000).start()
    members, replica = cluster.validators, cluster.peers[0].replica
    faulty = members.proposer(1, 1)
    tips = tuple(msgspec.structs.replace(tip, author=cluster.peers[1].key) for tip in tips)
    held: list[weakref.ref[WatchedBlock]] = []

    def send(round_: int) -> None:
        block = WatchedBlock(
            height=1,
            parent=cluster.genesis,
            time_ms=cluster.now_ms + round_,
            proposer=faulty,
            tips=tips,
            evidence=(),
            state_root=root or cluster.genesis,
            next_validators=members.hash,
        )
        held.append(weakref.ref(block))
        proposal = CheckedProposal(Proposal(round_, -1, faulty, block))
        assert replica.wants_proposal(proposal)
        replica.step(ProposalReceived(1, proposal), cluster.now_ms)

    rounds = [round_ for round_ in range(1, ROUNDS_AHEAD) if members.proposer(1, round_) == faulty]
    for round_ in (*rounds, *reversed(rounds[:-1])):
        send(round_)
    gc.collect()
    assert [block() is not None for block in held].count(True) == 1, "its highest round's"


def test_a_block_that_was_judged_wrong_for_its_round_is_taken_again_once_a_quorum_stands_for_it() -> None:
    """A faulty proposer shows another's block as its own, which it is not: the block itself is no worse."""
    cluster = Cluster(heartbeat_ms=60_000).start()
    members, replica = cluster.validators, cluster.peers[0].replica
    block = Block(
        height=1,
        parent=cluster.genesis,
        time_ms=cluster.now_ms,
        proposer=members.proposer(1, 0),
        tips=(),
        evidence=(),
        state_root=cluster.genesis,
        next_validators=members.hash,
    )
    stolen = CheckedProposal(Proposal(1, -1, members.proposer(1, 1), block))
    assert stolen.proposer != block.proposer
    replica.step(ProposalReceived(1, stolen), cluster.now_ms)
    voters = tuple(CertificateVote(key, 0, b"s" * 64) for key in sorted(members.powers)[:3])
    commit = CheckedCertificate(Certificate(VoteKind.PRECOMMIT, 1, 0, block_digest(block), voters))
    effects = replica.step(CertificateReceived(2, commit), cluster.now_ms)
    assert FetchBlock(1, commit.value, 2) in effects
    again = CheckedProposal(Proposal(1_000, 0, members.proposer(1, 1_000), block))
    assert replica.wants_proposal(again)
    (decided,) = (
        e for e in replica.step(ProposalReceived(2, again), cluster.now_ms) if isinstance(e, Decide)
    )
    assert decided.block == block
