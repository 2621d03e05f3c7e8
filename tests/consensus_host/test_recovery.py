"""What a restart takes back from the journal, where parts of it or of the chain are pruned."""

import os
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from consensus.blocks import Block, Proposal
from consensus.dissemination.acknowledgements import Acknowledgement
from consensus.dissemination.batches import EMPTY_LANE, BatchHeader
from consensus.guard import Guard, Step
from consensus.validators import ValidatorSet
from consensus.votes import Vote, VoteKind
from prsm_node.bench.made_chain import ChainMaker, genesis_time_ms
from prsm_node.consensus_host.batch_store import BatchStore
from prsm_node.consensus_host.chain_mark import MARK, decode_mark, first_mark
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.executor import Executor
from prsm_node.consensus_host.records import (
    RecordKind,
    decode_batch,
    decode_decision,
    decode_guard,
    decode_proposal,
    decode_signers,
)
from prsm_node.consensus_host.recovery import Recovered, of_key, recover, settled
from prsm_node.consensus_host.signer import Signer
from prsm_node.genesis import Genesis, genesis
from prsm_node.home import Home
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.storage.errors import StorageError
from prsm_node.storage.journal import Journal
from prsm_node.storage.state import State
from prsm_node.wire.frames import encode_message
from prsm_node.wire.kinds import Kind
from tests.consensus_host.hosts import NETWORK
from tests.consensus_host.test_executor import NoPeers

ONE, OTHER = b"\x01" * 32, b"\x02" * 32


def test_a_guard_of_a_pruned_height_counts_as_strayed_if_it_precommitted() -> None:
    def pruned(height: int) -> None:
        return None

    guard = Guard(height=7, round=2, step=Step.PRECOMMIT, locked_round=1, precommitted=(ONE,), diverged=3)
    assert settled(guard, 9, pruned) == Guard(height=7, diverged=7)
    assert settled(Guard(height=7, round=1, diverged=3), 9, pruned) == Guard(height=7, diverged=3)
    assert settled(guard, 9, lambda height: ONE) == Guard(height=7, diverged=3)
    assert settled(guard, 9, lambda height: OTHER) == Guard(height=7, diverged=7)
    assert settled(guard, 6, pruned) is guard, "its height is still open"
    assert settled(Guard(), 6, pruned) == Guard()


def opened(state: State, journal: Journal, made: Genesis) -> Executor:
    root = state.state_root(0)
    assert root is not None
    return Executor(
        state=state,
        mark=first_mark(made.hash, made.time_ms, root, journal.begin),
        batches=BatchStore(),
        journal=journal,
        wanter=NoPeers(),
        validators=lambda height: ValidatorSet.of((v.key, v.power) for v in made.validators),
        executed=lambda happened, execution: None,
        final=lambda final: None,
        signed_from=lambda: None,
    )


async def test_a_journal_that_begins_above_the_state_is_a_sentence_and_one_below_it_is_executed(
    tmp_path: Path,
) -> None:
    keys = [SigningKey.from_seed(bytes([n]) * 32) for n in range(4)]
    made = genesis("made", genesis_time_ms(6), [(k.public, 1, f"n{i}") for i, k in enumerate(keys)], [])
    home = Home(tmp_path)
    await ChainMaker(home, made, keys).make([None] * 6)
    journal = Journal.open(home.journal)
    state = State.open(tmp_path / "again", made, lambda position: b"")
    decisions = [record.position for record in journal.replay() if record.kind == RecordKind.DECISION]
    with pytest.raises(
        StorageError, match=r"goes on with block 3, and the state ends with 0.*--sync snapshot"
    ):
        await recover(journal, decisions[2], BatchStore(), opened(state, journal, made))
    await recover(journal, decisions[0], BatchStore(), opened(state, journal, made))
    assert state.height == 6
    state.close()
    journal.close()


async def test_a_journal_of_another_network_is_a_sentence_and_none_of_it_is_executed(tmp_path: Path) -> None:
    """Of the same accounts, so that its first block names the very root that this genesis has."""
    keys = [SigningKey.from_seed(bytes([n]) * 32) for n in range(4)]
    members = [(k.public, 1, f"n{i}") for i, k in enumerate(keys)]
    made, rival = (genesis(name, genesis_time_ms(6), members, []) for name in ("made", "rival"))
    home = Home(tmp_path)
    await ChainMaker(home, made, keys).make([None] * 6)
    journal = Journal.open(home.journal)
    state = State.open(tmp_path / "again", rival, lambda position: b"")
    with pytest.raises(StorageError, match=r"goes on with a block 1 of another chain.*put back"):
        await recover(journal, journal.begin, BatchStore(), opened(state, journal, rival))
    assert state.height == 0
    state.close()
    journal.close()


async def test_an_older_copy_of_the_journal_is_not_the_one_that_the_state_rests_on(tmp_path: Path) -> None:
    """The guard in it is an older one: who puts a damaged journal back from a backup would sign again."""
    keys = [SigningKey.from_seed(bytes([n]) * 32) for n in range(4)]
    made = genesis("made", genesis_time_ms(6), [(k.public, 1, f"n{i}") for i, k in enumerate(keys)], [])
    home = Home(tmp_path)
    await ChainMaker(home, made, keys).make([None] * 6)
    state = State.open(home.state, made, lambda position: b"")
    kept = state.meta(MARK)
    state.close()
    assert kept is not None
    journal = Journal.open(home.journal)
    mark = replace(decode_mark(kept), journal_from=journal.begin)  # as where a guard lies
    assert mark.rests_on(journal)
    last = [record.position for record in journal.replay()][-1]
    journal.close()
    os.truncate(home.journal / "00000000.log", last)
    journal = Journal.open(home.journal)
    assert journal.end == last
    assert not mark.rests_on(journal)
    journal.close()


def test_what_another_version_kept_is_a_sentence() -> None:
    for decode in (decode_guard, decode_proposal, decode_batch, decode_decision, decode_signers):
        with pytest.raises(StorageError, match=r"another version of this program .*; start it with that one"):
            decode(msgspec.msgpack.encode({"of": "another time"}))


def test_what_another_key_signed_in_this_home_is_nothing_that_ours_signed() -> None:
    """Its guard would let ours vote before a quorum said what it signed elsewhere, its lock forgotten."""
    checks, batches = Checks(NETWORK), BatchStore()
    before, ours = (Signer(NETWORK, SigningKey.from_seed(bytes([n]) * 32), checks) for n in (1, 2))
    voted = before.vote(Vote(VoteKind.PREVOTE, 7, 0, None, -1, 0, before.public))
    block = Block(7, ONE, 1, ONE, (), (), ONE, ONE)
    proposed = before.proposal(Proposal(0, -1, before.public, block))
    authored, foreign = (
        batches.put(each.batch(BatchHeader(each.public, 1, EMPTY_LANE, ONE)), b"") for each in (ours, before)
    )
    given = {
        stored.digest: before.acknowledgement(
            Acknowledgement(stored.header.author, 1, stored.digest, before.public)
        ).signature
        for stored in (authored, foreign)
    }
    for kind, message in ((Kind.VOTE, voted), (Kind.PROPOSAL, proposed)):
        guard = Guard(height=7, signed=(bytes((kind,)) + encode_message(message),))
        found = Recovered(guard, 5, [], given, {})
        assert of_key(found, before.public, batches, checks) == found
        assert of_key(found, None, batches, checks) is found, "who only follows may vote again one day"
        left = of_key(found, ours.public, batches, checks)
        assert (left.guard, left.guard_position) == (Guard(), None)
        assert left.acknowledged.keys() == {foreign.digest}, "in our lane it would spoil our certificates"
    good = ours.acknowledgement(Acknowledgement(ours.public, 1, authored.digest, ours.public)).signature
    own = Recovered(Guard(), None, [], {authored.digest: good}, {})
    assert of_key(own, ours.public, batches, checks) == own
