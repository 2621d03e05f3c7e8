"""Evidence convicts nobody honest, and enough of the guilty (PROTOCOL, Evidence)."""

from random import Random

import msgspec
import pytest

from consensus.certificates import CheckedCertificate, certificate_of
from consensus.evidence import (
    Evidence,
    VoteEquivocation,
    conflicting_certificates,
    evidence_among,
    guilty,
    is_amnesia,
    verify,
)
from consensus.quorum import guilty_on_a_fork, quorum
from consensus.votes import CheckedVote, Vote, VoteKind
from tests.consensus.histories import histories
from tests.wire.samples import AUTHOR, PIECES, VOTER

NETWORK, A, B = bytes(32), b"a" * 32, b"b" * 32


def voter(i: int) -> bytes:
    return bytes([i + 1]) * 32


def prevote(i: int, round_: int, value: bytes, mark: int = -1) -> CheckedVote:
    return CheckedVote(Vote(VoteKind.PREVOTE, 1, round_, value, mark, 0, voter(i), b"s"))


def precommit(i: int, round_: int, value: bytes, diverged: int = 0) -> CheckedVote:
    return CheckedVote(Vote(VoteKind.PRECOMMIT, 1, round_, value, -1, diverged, voter(i), b"s"))


@pytest.mark.parametrize(("n", "faulty", "rounds"), [(4, 1, 2), (4, 2, 3)])
def test_no_honest_history_holds_evidence(n: int, faulty: int, rounds: int) -> None:
    told = 0
    for all_honest in histories(n, faulty, rounds, keep_prevotes=True):
        for i, honest in enumerate(all_honest):
            votes = [prevote(i, r, v, mark) for r, v, mark in honest.prevotes]
            votes += [precommit(i, r, v) for r, v in honest.precommits]
            assert not list(evidence_among(votes)), honest
            told += 1
    assert told > 500


def test_the_pair_alone_would_convict_the_honest() -> None:
    """Why `polka_round` is asked: honest histories are full of locks given up for a later polka."""
    pairs = 0
    for all_honest in histories(4, 2, rounds=3, keep_prevotes=True):
        for honest in all_honest:
            pairs += any(r < q and v != w for r, v in honest.precommits for q, w, _ in honest.prevotes)
    assert pairs > 0


@pytest.mark.parametrize(("n", "faulty"), [(4, 2), (5, 3), (7, 4)])
def test_two_decisions_convict_what_two_quorums_share(n: int, faulty: int) -> None:
    """A random adversary below a quorum forks as cheaply as it can; the polkas and commits convict enough."""
    random, forks = Random(n), 0
    for _ in range(3_000):
        fork = random_fork(random, n, faulty)
        if fork is None:
            continue
        first, second, polkas = fork
        convicted = conflicting_certificates(first, second, polkas)
        assert convicted.keys() <= {voter(i) for i in range(n - faulty, n)}, "an honest one is convicted"
        assert all(guilty(proof) == key for key, proof in convicted.items())
        assert len(convicted) >= guilty_on_a_fork(n), f"{len(convicted)} convicted"
        forks += 1
    assert forks > 50


def random_fork(
    random: Random, n: int, faulty: int
) -> tuple[CheckedCertificate, CheckedCertificate, list[CheckedCertificate]] | None:
    """Let honest validators follow the rules at random; the faulty complete any quorum with as few as
    needed."""
    honest, liars = range(n - faulty), list(range(n - faulty, n))
    locks: dict[int, tuple[int, bytes]] = dict.fromkeys(honest, (-1, b""))
    polkas: dict[tuple[int, bytes], CheckedCertificate] = {}
    commits: dict[tuple[int, bytes], list[CheckedVote]] = {}
    for round_ in range(4):
        cast: dict[int, CheckedVote] = {}
        for i in honest:
            lock, value = locks[i]
            free = [v for v in (A, B) if lock < 0 or v == value]
            options = [prevote(i, round_, v, lock if v == value else -1) for v in free]
            options += [
                prevote(i, round_, v, max(q, lock) if v == value else q)
                for q, v in polkas
                if q > lock or v == value
            ]
            if options and random.random() < 0.9:
                cast[i] = random.choice(options)
        for value in (A, B):
            votes = [vote for vote in cast.values() if vote.value == value]
            missing = quorum(n) - len(votes)
            if not votes or missing > faulty:
                continue
            mark = max((q for q, v in polkas if v == value), default=-1)
            votes += [prevote(i, round_, value, mark) for i in random.sample(liars, max(missing, 0))]
            polkas[round_, value] = certificate_of(votes)
            for i in honest:
                if locks[i][0] < round_ and random.random() < 0.6:
                    locks[i] = (round_, value)
                    commits.setdefault((round_, value), []).append(precommit(i, round_, value))
    decided = {}
    for (round_, value), votes in commits.items():
        missing = quorum(n) - len(votes)
        if missing <= faulty:
            lies = [precommit(i, round_, value) for i in random.sample(liars, max(missing, 0))]
            decided[round_, value] = certificate_of([*votes, *lies])
    pairs = [(decided[p], decided[q]) for p in decided for q in decided if p[1] == A and q[1] == B]
    return (*random.choice(pairs), list(polkas.values())) if pairs else None


TWO_MARKS = VoteEquivocation(precommit(0, 1, A, 0), precommit(0, 1, A, 1))
PROOFS: list[tuple[Evidence, bytes]] = [
    *zip(PIECES, (VOTER, VOTER, AUTHOR, AUTHOR, VOTER), strict=True),
    (TWO_MARKS, voter(0)),
]


@pytest.mark.parametrize(("proof", "who"), PROOFS)
def test_a_proof_stands_alone_survives_encoding_and_needs_both_signatures(
    proof: Evidence, who: bytes
) -> None:
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(proof), type=Evidence)
    assert again == proof
    assert guilty(again) == who
    asked: list[bytes] = []

    def good(key: bytes, signature: bytes, message: bytes) -> bool:
        asked.append(message)
        return key == who

    assert verify(again, NETWORK, good)
    assert len(set(asked)) == 2, "two different contents were signed"
    assert not verify(again, NETWORK, lambda key, signature, message: message != asked[0])
    assert not verify(again, NETWORK, lambda key, signature, message: message != asked[1])


def test_one_message_twice_proves_nothing() -> None:
    same = prevote(0, 1, A)
    assert not verify(VoteEquivocation(same, same), NETWORK, lambda key, signature, message: True)
    assert not list(evidence_among([same, same]))


def test_a_polka_above_the_lock_is_no_amnesia_and_one_at_the_lock_is() -> None:
    assert not is_amnesia(precommit(0, 1, A), prevote(0, 3, B, mark=2))
    assert is_amnesia(precommit(0, 1, A), prevote(0, 3, B, mark=1))
