"""Who lost its disk is told that its key signed, though all who heard it were restarted since."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import trio
import trio.testing

from consensus.guard import Guard
from prsm_node.consensus_host.answers import Answers
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.seen_signers import AT_STAKE, RENEWED_AFTER, SeenSigners
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.storage.journal import Journal
from prsm_node.storage.journal_segments import segment_of
from prsm_node.storage.journal_writer import InlineWriter
from prsm_node.wire.payloads import SignedWanted
from tests.consensus_host.test_kept_proposals import recovered_from
from tests.consensus_host.test_twin import ME, NETWORK, Peers, twin_check, voted

THEIRS = SigningKey.from_seed(b"o" * 32)
SEGMENT = 4_096


async def peer(folder: Path, height: int, me: bytes = THEIRS.public) -> tuple[Journal, Checks, SeenSigners]:
    """A validator that starts, or starts again, with what its journal holds."""
    journal = Journal.open(folder, segment_bytes=SEGMENT, writer=InlineWriter)
    recovered = await recovered_from(journal, None)
    checks = Checks(NETWORK)
    signers = SeenSigners(journal, checks, me, recovered.signers, recovered.signers_position, height)
    return journal, checks, signers


async def end(journal: Journal) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        await journal.flush()
        nursery.cancel_scope.cancel()


def answer(checks: Checks) -> bytes:
    """What it answers who asks after our key, at an open height: no decision shows a vote."""
    answers = Answers.__new__(Answers)
    answers._host = cast(Any, SimpleNamespace(checks=checks))
    answers._state = cast(Any, SimpleNamespace(height=0, block=lambda height: None))
    told = answers._signed(1, SignedWanted(ME))
    assert told is not None
    return told


async def test_a_lost_disk_keeps_silent_in_a_network_that_was_restarted_whole_before_it_decided(
    tmp_path: Path,
) -> None:
    told = []
    for name in ("B", "C"):
        journal, checks, _ = await peer(tmp_path / name, 0)
        assert checks.vote(voted(1, 0)) is not None
        await end(journal)
        journal, checks, _ = await peer(tmp_path / name, 0)
        told.append(answer(checks))
        journal.close()
    with trio.fail_after(5):
        reason = await twin_check(Peers(*told), Guard()).until_alone(1.0, lambda reason: None)
    assert "signed at height 1, round 0" in reason


async def test_one_vote_of_a_key_is_kept_until_it_is_old(tmp_path: Path) -> None:
    journal, checks, signers = await peer(tmp_path, 0)
    checks.vote(voted(1, 0))
    first = signers.position
    assert first is not None
    for height in range(2, RENEWED_AFTER + 1):
        checks.vote(voted(height, 0))
    assert signers.position == first
    checks.vote(voted(RENEWED_AFTER + 1, 0))
    assert signers.position != first
    await end(journal)
    journal, checks, _ = await peer(tmp_path, RENEWED_AFTER + AT_STAKE)
    assert ME in checks.signed
    journal.close()
    journal, checks, _ = await peer(tmp_path, RENEWED_AFTER + AT_STAKE + 1)
    assert ME not in checks.signed, "what was silent for so long has nothing at stake"
    journal.close()


async def test_of_our_own_key_and_by_who_only_follows_nothing_is_kept(tmp_path: Path) -> None:
    journal, checks, signers = await peer(tmp_path, 0, me=ME)
    checks.vote(voted(1, 0))
    assert signers.position is None, "our guard may not be on the disk yet"
    journal.close()
    follower = SeenSigners(journal, checks := Checks(NETWORK), None, (), None, 0)
    checks.vote(voted(1, 0))
    assert follower.position is None


async def test_what_a_home_saw_of_a_key_that_is_moved_into_it_counts(tmp_path: Path) -> None:
    journal, checks, _ = await peer(tmp_path, 0)
    checks.vote(voted(1, 0))
    await end(journal)
    journal, checks, _ = await peer(tmp_path, 0, me=ME)
    reason = await twin_check(Peers(), Guard(), checks=checks).until_alone(0.1, lambda reason: None)
    assert "signed at height 1, round 0" in reason, "though nobody answers"
    journal.close()


async def test_what_is_kept_goes_on_with_the_journal(tmp_path: Path) -> None:
    journal, checks, signers = await peer(tmp_path, 0)
    checks.vote(voted(1, 0))
    journal.on_new_segment = signers.carry_over
    while segment_of(journal.end) < 5:
        journal.append(100, bytes(500))
    assert signers.position is not None
    assert segment_of(signers.position) == 5
    journal.close()
