"""A validator that is caught leaves the set, and the others go on without it."""

import pytest
from msgspec.structs import replace

from consensus.evidence import AcknowledgementEquivocation, guilty
from consensus.rules import Rules
from consensus.simulation.byzantine.double_acknowledger import DoubleAcknowledger
from consensus.simulation.byzantine.equivocating_proposer import EquivocatingProposer
from consensus.simulation.chance import Chance
from consensus.simulation.cluster import Cluster, Make
from consensus.simulation.scenario import Links
from consensus.simulation.validator import Validator
from consensus.votes import CheckedVote


class BothVotes(Validator):
    """Shows each of its votes, and one for nil, to all."""

    honest = False

    def show_vote(self, vote: CheckedVote) -> None:
        super().show_vote(vote)
        if vote.value is not None:
            nil = replace(vote, value=None, polka_round=-1, diverged=0)
            super().show_vote(self.cluster.signatures.sign_vote(nil))


def cluster_with(actor: Make, seed: int, heartbeat_ms: int = 60_000) -> Cluster:
    rules = Rules(heartbeat_ms=heartbeat_ms)
    return Cluster(Chance(seed), [1] * 5, Links(), rules, {4: [actor]}).start()


@pytest.mark.parametrize("actor", [BothVotes, EquivocatingProposer])
@pytest.mark.parametrize("seed", range(3))
def test_who_signs_twice_is_convicted_once_and_the_chain_goes_on_without_it(actor: Make, seed: int) -> None:
    cluster = cluster_with(actor, seed)
    for body in range(20):
        cluster.seal(body % 4, body)
        cluster.run(200)
    cluster.run(2_000)
    caught = cluster.all[4].key
    blocks = [block for block, _ in cluster.honest[0].blocks]
    convicting = [block for block in blocks if block.evidence]
    assert [guilty(piece) for block in convicting for piece in block.evidence] == [caught]
    left = convicting[0].height + 3
    for honest in cluster.honest:
        assert honest.replica.height.height > left
        assert caught not in honest.replica.height.validators
        assert len(honest.replica.height.validators) == 4
        assert honest.replica.evidence.pieces() == ()
    signers = {
        vote.voter
        for block, commit in cluster.honest[0].blocks
        if block.height >= left
        for vote in commit.votes
    }
    assert caught not in signers
    assert cluster.ordered() >= 20 - 4, "the others' batches are ordered before and after"


@pytest.mark.parametrize(("size", "faulty"), [(7, 2), (5, 2), (4, 2), (4, 3)])
@pytest.mark.parametrize("seed", range(2))
def test_however_many_are_convicted_the_rest_go_on(size: int, faulty: int, seed: int) -> None:
    """A third or more at once too, where the first two would not be outvoted, down to a set of one: they vote
    along until they are out, and propose at the heights between."""
    guilty_ones = range(size - faulty, size)
    actors: dict[int, list[Make]] = {number: [BothVotes] for number in guilty_ones}
    cluster = Cluster(Chance(seed), [1] * size, Links(), Rules(heartbeat_ms=60_000), actors).start()
    for body in range(16):
        cluster.seal(body % (size - faulty), body)
        cluster.run(200)
    cluster.run(3_000)
    caught = {cluster.all[number].key for number in guilty_ones}
    for honest in cluster.honest:
        assert set(honest.replica.height.validators.powers) == {other.key for other in cluster.honest}
        assert honest.replica.chain.convicted == caught
    blocks = [block for block, _ in cluster.honest[0].blocks]
    convicting = [block for block in blocks if block.evidence]
    assert sorted(guilty(piece) for block in convicting for piece in block.evidence) == sorted(caught)
    assert not {block.proposer for block in blocks if block.height >= convicting[-1].height + 3} & caught
    assert blocks[-1].height > convicting[-1].height + 3
    assert cluster.ordered() >= 16 - 4


@pytest.mark.parametrize("seed", range(3))
def test_who_acknowledges_two_batches_at_one_place_is_convicted_of_that_and_nobody_else(seed: int) -> None:
    cluster = cluster_with(DoubleAcknowledger, seed)
    for body in range(1, 21):
        cluster.seal(body % 4, body)
        cluster.run(200)
    pieces = [piece for block, _ in cluster.honest[0].blocks for piece in block.evidence]
    assert [guilty(piece) for piece in pieces] == [cluster.all[4].key]
    assert isinstance(pieces[0], AcknowledgementEquivocation)
    assert all(cluster.all[4].key not in honest.replica.height.validators for honest in cluster.honest)


def test_a_restart_after_the_conviction_keeps_it() -> None:
    cluster = cluster_with(BothVotes, seed=1)
    for body in range(10):
        cluster.seal(body % 4, body)
        cluster.run(200)
    for honest in cluster.honest:
        honest.crash()
        honest.start()
    caught = cluster.all[4].key
    assert all(caught in honest.replica.chain.convicted for honest in cluster.honest)
    height = min(cluster.heights()[:4])
    cluster.seal(1, 99)
    cluster.run(2_000)
    assert min(cluster.heights()[:4]) > height
    assert all(caught not in honest.replica.height.validators for honest in cluster.honest)


def test_evidence_alone_is_worth_a_block_and_those_that_put_it_in_force() -> None:
    """Nothing to order, and the heartbeat an hour away."""
    cluster = cluster_with(BothVotes, seed=2, heartbeat_ms=3_600_000)
    cluster.seal(0, 1)
    cluster.run(5_000)
    blocks = [block for block, _ in cluster.honest[0].blocks]
    (convicting,) = (block for block in blocks if block.evidence)
    assert len(blocks) >= convicting.height + 2
    assert cluster.all[4].key not in cluster.honest[0].replica.height.validators
