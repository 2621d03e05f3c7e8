"""An account's proof convinces whoever has the genesis, and no changed claim or proof does."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from consensus.blocks import Block, block_digest
from consensus.certificates import CheckedCertificate, certificate_of
from consensus.light import SetChange
from consensus.validators import ValidatorSet
from consensus.votes import CheckedVote, Vote, VoteKind, vote_signed_bytes
from prsm_node.account_proof import Evidence, ProofFault, ProvenAccount, check, read
from prsm_node.cli.app import run
from prsm_node.control.protocol import MESSAGE_BYTES_MAX
from prsm_node.genesis import Genesis, genesis, save
from prsm_node.home import Home
from prsm_node.identity.addresses import account_text
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.invite import CLOCK_SKEW_MS, DAY_MS
from prsm_node.storage.state import State
from tests.cli.test_online import Served
from tests.storage.made_chain import address

KEYS = [SigningKey.from_seed(bytes([n]) * 32) for n in range(4)]
SET = ValidatorSet((key.public, 1) for key in KEYS)
FUNDS = 5_000


def no_body(position: int) -> bytes:
    raise AssertionError(f"nothing was ordered, but the body at {position} is read")


def signed(made: Genesis, block: Block, signers: int) -> CheckedCertificate:
    votes = []
    for key in KEYS[:signers]:
        vote = Vote(VoteKind.PRECOMMIT, block.height, 0, block_digest(block), -1, 0, key.public, b"")
        signature = key.sign(vote_signed_bytes(made.hash, vote))
        votes.append(CheckedVote(replace(vote, signature=signature)))
    return certificate_of(votes)


def proven(made: Genesis, state: State, height: int = 3, signers: int = 3) -> ProvenAccount:
    """The proof of account 7, its root named by a block of this height."""
    root, of_account = state.state_root(0), state.proof(address(7))
    assert root is not None
    assert of_account is not None
    parent = Block(height - 1, bytes(32), 2, KEYS[0].public, (), (), root, SET.hash)
    block = Block(height, block_digest(parent), 3, KEYS[0].public, (), (), root, SET.hash)
    certificate = signed(made, block, signers)
    evidence = Evidence(of_account, block, certificate, SET.pairs(), SET.pairs(), parent)
    text = account_text(address(7))
    return ProvenAccount(text, str(FUNDS), 0, height - 2, root.hex(), made.hash.hex(), evidence)


@pytest.fixture
def made() -> Genesis:
    validators = [(key.public, 1, f"node{n}") for n, key in enumerate(KEYS)]
    return genesis("proofs", 1_000, validators, [(address(n), FUNDS) for n in range(40)])


@pytest.fixture
def state(made: Genesis, tmp_path: Path) -> Iterator[State]:
    opened = State.open(tmp_path / "state", made, no_body, sync=False)
    yield opened
    opened.close()


def test_a_certified_header_and_a_path_prove_an_account(made: Genesis, state: State) -> None:
    shown = check(proven(made, state), made)
    assert (shown.account.balance, shown.height, shown.signed_height) == (FUNDS, 1, 3)
    assert (shown.signed_power, shown.total_power) == (3, 4)


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ({"balance": "5001"}, "balance is said to be 5001, and the proof shows 5000"),
        ({"nonce": 1}, "nonce is said to be 1"),
        ({"height": 2}, "height is said to be 2"),
        ({"state_root": "00" * 32}, "state_root is said to be"),
        ({"network": "00" * 32}, "name the genesis of that network"),
        ({"address": account_text(address(8))}, "the proof is of another account"),
        ({"address": "prsm1nobody"}, "not proven: "),
    ],
)
def test_a_claim_that_is_not_proven_is_named(
    made: Genesis, state: State, claim: dict[str, str | int], says: str
) -> None:
    with pytest.raises(ProofFault, match=says):
        check(replace(proven(made, state), **claim), made)


def test_a_proof_that_a_quorum_did_not_sign_is_refused(made: Genesis, state: State) -> None:
    with pytest.raises(ProofFault, match="weighs 2 of 4"):
        check(proven(made, state, signers=2), made)
    good = proven(made, state)
    others = tuple((SigningKey.from_seed(bytes([n]) * 32).public, 1) for n in range(9, 13))
    for changed, says in (
        ({"validators": others}, "another set than its parent names"),
        ({"next_validators": others}, "names another next set"),
        ({"parent": None}, "its parent block is needed"),
        ({"block": replace(good.evidence.block, state_root=bytes(32))}, "is for something else"),
        ({"account": replace(good.evidence.account, accounts=41)}, "leads to another state root"),
    ):
        with pytest.raises(ProofFault, match=says):
            check(replace(good, evidence=replace(good.evidence, **changed)), made)


def test_whom_the_set_jailed_prove_nothing_though_they_were_more_than_a_third_of_the_genesis(
    made: Genesis, state: State
) -> None:
    """Two of the four left the set, one after the other; they show a set of their own that never was."""
    good = proven(made, state)
    two = ValidatorSet((key.public, 1) for key in KEYS[:2])
    parent = Block(8, bytes(32), 2, KEYS[0].public, (), (), good.evidence.block.state_root, two.hash)
    block = Block(9, block_digest(parent), 3, KEYS[0].public, (), (), parent.state_root, two.hash)
    forged = Evidence(good.evidence.account, block, signed(made, block, 2), two.pairs(), two.pairs(), parent)
    with pytest.raises(ProofFault, match="comes with another set than the trusted block names"):
        check(replace(good, evidence=forged, height=7), made)
    change = SetChange(parent, signed(made, parent, 2), two.pairs())
    with pytest.raises(ProofFault, match="weighs 2 of 4"):
        check(replace(good, evidence=replace(forged, changes=(change,)), height=7), made)


def test_a_proof_leads_through_each_change_of_the_set(made: Genesis, state: State) -> None:
    good = proven(made, state)
    three = ValidatorSet((key.public, 1) for key in KEYS[:3])
    parent = replace(good.evidence.block, height=8, next_validators=three.hash)
    block = Block(9, block_digest(parent), 3, KEYS[0].public, (), (), parent.state_root, three.hash)
    change = SetChange(parent, signed(made, parent, 3), three.pairs())
    evidence = Evidence(
        good.evidence.account, block, signed(made, block, 3), three.pairs(), three.pairs(), parent, (change,)
    )
    shown = check(replace(good, evidence=evidence, height=7), made)
    assert (shown.height, shown.signed_power, shown.total_power) == (7, 3, 3)
    with pytest.raises(ProofFault, match="comes with another set"):
        check(replace(good, evidence=replace(evidence, changes=()), height=7), made)
    with pytest.raises(ProofFault, match="is not above the trusted 8"):
        check(replace(good, evidence=replace(evidence, changes=(change, change)), height=7), made)


def test_a_proof_is_doubted_when_its_signers_answer_for_it_no_longer(made: Genesis, state: State) -> None:
    shown = check(proven(made, state), made)
    trusting_ms = made.parameters.unbonding_ms
    assert shown.doubt(shown.signed_ms + trusting_ms - 1) == ""
    assert "block 3 is 7.0 days old" in shown.doubt(shown.signed_ms + trusting_ms)
    assert shown.doubt(shown.signed_ms - CLOCK_SKEW_MS) == ""
    assert "block 3 is 61 s in the future" in shown.doubt(shown.signed_ms - CLOCK_SKEW_MS - 1_000)


def test_the_command_ends_with_0_only_for_a_true_proof(
    made: Genesis, state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(made, trusted := tmp_path / "genesis.json")
    file = tmp_path / "proof.json"
    command = ["verify-proof", str(file), "--genesis", str(trusted)]
    encoded = msgspec.json.encode(proven(made, state))
    file.write_bytes(encoded)
    assert run([*command, "--json"]) == 0
    told = msgspec.json.decode(capsys.readouterr().out)
    assert (told["proven"], told["balance"], told["height"]) == (True, str(FUNDS), 1)
    assert told["certified_at"] == "1970-01-01T00:00:00.003Z"
    assert told["age_ms"] > 50 * 365 * DAY_MS
    assert not told["within_trusting_period"]
    assert run(command) == 0
    shown = capsys.readouterr()
    assert "block 3, 3 of 4" in shown.out
    assert "1970-01-01T00:00:00.003Z, " in shown.out
    assert "days old, and validators answer for what they sign for 7 days; ask a node" in shown.err
    assert run(["--home", str(tmp_path), "verify-proof", str(file), "--genesis", str(tmp_path / "none")]) == 1
    assert "name the one to trust with --genesis FILE" in capsys.readouterr().err

    for at in range(0, len(encoded), 97):
        changed = bytearray(encoded)
        changed[at] ^= 0x01
        file.write_bytes(changed)
        assert run(command) == 1, f"byte {at} changed"
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1


def test_a_proof_over_many_changes_of_a_large_set_comes_whole(
    made: Genesis,
    state: State,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More than a message of the control socket holds, and as much as 256 validators can ever come to."""
    small = proven(made, state).evidence
    votes = tuple(replace(small.certificate.votes[0], voter=bytes([n]) * 32) for n in range(256))
    members = tuple((bytes([n]) * 32, 1) for n in range(256))
    change = SetChange(small.block, replace(small.certificate, votes=votes), members)
    whole = replace(small, changes=(change,) * 200)
    assert len(msgspec.msgpack.encode(whole)) > 6 * MESSAGE_BYTES_MAX

    async def prove(address: bytes) -> Evidence:
        return whole

    with Served(Home(tmp_path)) as served:
        monkeypatch.setattr(served.node, "account_proof", prove)
        assert run(["--home", str(tmp_path), "account", account_text(address(7)), "--proof"]) == 0
    (file := tmp_path / "proof.json").write_text(capsys.readouterr().out)
    assert read(file).evidence == whole


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"address":1}', b" " * 1_100_000])
def test_a_file_that_is_no_proof_is_one_sentence(tmp_path: Path, text: bytes) -> None:
    (path := tmp_path / "proof.json").write_bytes(text)
    with pytest.raises(ProofFault, match="no account proof") as refusal:
        read(path)
    assert "\n" not in str(refusal.value)
