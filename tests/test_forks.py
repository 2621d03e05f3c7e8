"""The proofs of forks in a home."""

from pathlib import Path

import msgspec
import pytest

from consensus.certificates import Certificate, CertificateVote
from consensus.evidence import Amnesia
from consensus.votes import VoteKind
from prsm_node import forks
from prsm_node.errors import OperatorError
from prsm_node.home import Home

KEYS = [bytes((65 + i,)) * 32 for i in range(4)]


def commit(value: bytes, *voters: int) -> Certificate:
    votes = tuple(CertificateVote(KEYS[i], 0, b"s") for i in voters)
    return Certificate(VoteKind.PRECOMMIT, 5, 0, value * 32, votes)


def test_a_fork_is_found_again_with_those_whom_it_convicts(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = forks.export(home, (commit(b"a", 0, 1, 2), commit(b"b", 1, 2, 3)))
    (fork,) = forks.met(home)
    assert (fork.path, fork.height) == (path, 5)
    assert set(fork.guilty) == {KEYS[1], KEYS[2]}


def test_the_polkas_at_hand_convict_the_amnesiac(tmp_path: Path) -> None:
    """Decided in two rounds by other quorums: who precommitted first and then helped the other polka."""
    home, later = Home(tmp_path), commit(b"b", 1, 2, 3)
    prevotes = tuple(CertificateVote(KEYS[i], -1, b"s") for i in (1, 2, 3))
    polka = Certificate(VoteKind.PREVOTE, 5, 1, b"b" * 32, prevotes)
    forks.export(home, (commit(b"a", 0, 1, 2), msgspec.structs.replace(later, round=1), polka))
    (fork,) = forks.met(home)
    assert {key: type(proof) for key, proof in fork.guilty.items()} == {KEYS[1]: Amnesia, KEYS[2]: Amnesia}


def test_of_more_polkas_than_are_read_again_the_first_are_kept(tmp_path: Path) -> None:
    """Of a height where a third is faulty there may be two of each round."""
    polkas = [
        Certificate(VoteKind.PREVOTE, 5, round_, b"b" * 32, ())
        for round_ in range(forks.CERTIFICATES_MAX + 64)
    ]
    forks.export(Home(tmp_path), (commit(b"a", 0, 1, 2), commit(b"b", 1, 2, 3), *polkas))
    (fork,) = forks.met(Home(tmp_path))
    assert set(fork.guilty) == {KEYS[1], KEYS[2]}
    assert [path.name for path in tmp_path.iterdir()] == ["fork-at-5.json"]


def test_a_damaged_proof_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "fork-at-7.json").write_text("[1]")
    with pytest.raises(OperatorError, match=r"fork-at-7.json is no proof of a fork: .*; move it out"):
        forks.met(Home(tmp_path))


def test_a_home_without_forks_has_none(tmp_path: Path) -> None:
    assert forks.met(Home(tmp_path)) == []
