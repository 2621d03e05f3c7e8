"""Agreement under any schedule, liveness once the network is calm, nothing signed twice over restarts."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.quorum import strength, undiverged
from tests.consensus.agreement.scheduled import Network, key

POWERS = ((1, 1, 1, 1), (1,) * 7, (40, 30, 20, 10), (5, 3, 3, 2, 1, 1), (33, 33, 33, 1))


def less_than_a_third(random: Random, powers: tuple[int, ...]) -> frozenset[int]:
    """As many faulty ones, in random order, as stay below a third of the power."""
    faulty: list[int] = []
    for index in random.sample(range(len(powers)), len(powers)):
        weight = sum(powers[i] for i in (*faulty, index))
        if 3 * weight < sum(powers):
            faulty.append(index)
    return frozenset(faulty)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), powers=st.sampled_from(POWERS))
def test_no_two_decisions_at_a_height_with_less_than_a_third_faulty(
    seed: int, powers: tuple[int, ...]
) -> None:
    random = Random(seed)
    faulty = less_than_a_third(random, powers)
    network = Network(random, powers, faulty, calm_at_ms=20_000, lies=0.8)
    network.run(until_ms=60_000)
    decided = network.decisions.get(1, set())
    assert len(decided) <= 1, f"two decisions: {[value.hex()[:8] for value in decided]}"
    certified = {certificate.value for certificate in network.commits()}
    assert len(certified) <= 1, "the votes that were cast could certify two values"


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), powers=st.sampled_from(POWERS))
def test_crashes_at_any_boundary_sign_nothing_twice_and_accuse_nobody(
    seed: int, powers: tuple[int, ...]
) -> None:
    random = Random(seed)
    faulty = less_than_a_third(random, powers)
    # The network asserts of each vote and proposal that its place is new, of evidence that it is true.
    network = Network(random, powers, faulty, calm_at_ms=15_000, crashes=0.04, lies=0.6)
    network.run(until_ms=40_000)
    assert len(network.decisions.get(1, set())) <= 1


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), powers=st.sampled_from(POWERS))
def test_once_the_network_is_calm_every_height_is_decided(seed: int, powers: tuple[int, ...]) -> None:
    random = Random(seed)
    faulty = less_than_a_third(random, powers)
    network = Network(random, powers, faulty, calm_at_ms=5_000, lies=0.5)
    for height in range(1, 4):
        calm_ms = max(network.now_ms, network.calm_at_ms)
        assert network.run(until_ms=calm_ms + 60_000), f"height {height} is open at {network.now_ms} ms"
        assert len(network.decisions[height]) == 1
        network.next_height()


def test_without_faults_four_validators_decide_in_round_0_within_three_delays() -> None:
    network = Network(Random(1), (1, 1, 1, 1))
    for _ in range(8):
        began_ms = network.now_ms
        assert network.run(until_ms=began_ms + 1_000)
        assert network.decided_rounds() == [0] * len(network.nodes)
        assert network.now_ms - began_ms <= 4 * 50
        network.next_height()


def test_a_silent_validator_of_four_costs_a_round_when_it_would_propose() -> None:
    network = Network(Random(2), (1, 1, 1, 1), frozenset({0}), lies=0.0)
    rounds = []
    for _ in range(8):
        assert network.run(until_ms=network.now_ms + 10_000)
        rounds.append(set(network.decided_rounds()))
        network.next_height()
    proposers = [network.validators.proposer(height, 0) for height in range(1, 9)]
    assert rounds == [{1} if proposer == key(0) else {0} for proposer in proposers]


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), faulty=st.integers(1, 3))
def test_no_certificate_is_undone_by_faulty_power_up_to_its_strength(seed: int, faulty: int) -> None:
    """Beyond a third two values may be certified, but never against a strong enough certificate."""
    powers = (1,) * 5
    network = Network(Random(seed), powers, frozenset(range(faulty)), calm_at_ms=20_000, lies=0.9)
    network.run(until_ms=30_000)
    commits = network.commits()
    for certificate in commits:
        marks = {vote.voter: vote.mark for vote in certificate.votes}
        holds = strength(undiverged(marks, network.validators.powers, 1), network.validators.total)
        others = [other for other in commits if other.value != certificate.value]
        assert not others or faulty > holds, f"strength {holds} was undone by {faulty}"
