"""What ends a replica ends the daemon, whoever met it, and nothing is asked of the replica after it."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from consensus.certificates import Certificate, CheckedCertificate
from consensus.effects import CastVote, Effect, Halt
from consensus.guard import Guard
from consensus.inputs import Input, Started
from consensus.votes import Vote, VoteKind
from prsm_node.consensus_host.host import Halted
from prsm_node.storage.errors import StorageError
from prsm_node.storage.journal import Journal
from prsm_node.storage.journal_writer import InlineWriter
from tests.consensus_host.hosts import host_of


class HaltingReplica:
    """Meets a second decision at once."""

    def __init__(self, proof: tuple[CheckedCertificate, ...] = ()) -> None:
        self.steps = 0
        self._proof = proof

    def step(self, happened: Input, now_ms: int) -> list[Effect]:
        self.steps += 1
        return [Halt("two blocks are certified at height 7", self._proof)]


class VotingReplica:
    """Votes at each step, for another round."""

    def __init__(self) -> None:
        self.steps = 0

    def step(self, happened: Input, now_ms: int) -> list[Effect]:
        self.steps += 1
        vote = Vote(VoteKind.PREVOTE, 1, self.steps, None, -1, 0, b"v" * 32)
        return [CastVote(vote, Guard(height=1, round=self.steps))]


async def test_a_second_decision_met_in_a_links_handler_still_ends_the_daemon() -> None:
    replica = HaltingReplica()
    host = host_of(replica)
    with pytest.raises(Halted):
        host.feed(Started())  # a link takes what its handlers raise for the peer's fault, and goes on
    host.feed(Started())
    assert replica.steps == 1, "nothing is signed after the end"
    with pytest.raises(Halted, match=r"two blocks are certified at height 7; .*stopped"):
        await host.run()


async def test_the_two_certificates_of_a_fork_are_exported_before_the_end(tmp_path: Path) -> None:
    a, b = (Certificate(VoteKind.PRECOMMIT, 7, 0, value * 32, ()) for value in (b"a", b"b"))
    exported: list[tuple[Certificate, ...]] = []

    def export(proof: tuple[Certificate, ...]) -> Path:
        exported.append(proof)
        return tmp_path / "fork-at-7.json"

    replica = HaltingReplica((CheckedCertificate(a), CheckedCertificate(b)))
    host = host_of(replica, export=export)
    with pytest.raises(Halted, match=r"the proof is in .*fork-at-7\.json"):
        host.feed(Started())
    assert exported == [(a, b)]


async def test_a_proof_that_a_full_disk_does_not_take_is_said_with_the_fork() -> None:
    def export(proof: tuple[Certificate, ...]) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    commit = CheckedCertificate(Certificate(VoteKind.PRECOMMIT, 7, 0, b"a" * 32, ()))
    host = host_of(HaltingReplica((commit, commit)), export=export)
    with pytest.raises(Halted, match=r"at height 7; its proof can't be kept \(no space left .*stopped"):
        host.feed(Started())


async def test_a_vote_that_the_journal_does_not_take_is_not_sent_and_is_the_last(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, writer=InlineWriter)
    journal.close()
    sent: list[bytes] = []
    replica = VotingReplica()
    host = host_of(
        replica,
        journal=journal,
        signer=SimpleNamespace(vote=lambda vote: vote),
        outbox=SimpleNamespace(broadcast=lambda kind, message: sent.append(message)),
    )
    with pytest.raises(StorageError, match="nothing more can be kept"):
        host.feed(Started())
    host.feed(Started())
    assert (replica.steps, sent) == (1, [])
    with pytest.raises(StorageError, match="nothing more can be kept"):
        await host.run()
