"""The genesis: one encoding, one hash, and errors that name the field."""

from pathlib import Path

import msgspec
import pytest

from prsm_node.genesis import GenesisError, decode, from_document, genesis, load, save, to_document
from prsm_node.identity.addresses import account_text, validator_text
from prsm_node.ledger.parameters import Parameters
from prsm_node.ledger.transactions import SUPPLY_CAP

KEY, OTHER = b"k" * 32, b"l" * 32
ADDRESS, ANOTHER = b"\x01" + b"a" * 32, b"\x01" + b"b" * 32
MADE = genesis("dev", 5, [(OTHER, 2, "two"), (KEY, 1, "one")], [(ANOTHER, 7), (ADDRESS, 8)])


def test_the_order_in_which_it_is_told_does_not_change_the_network_id() -> None:
    told = genesis("dev", 5, [(KEY, 1, "one"), (OTHER, 2, "two")], [(ADDRESS, 8), (ANOTHER, 7)])
    assert told.hash == MADE.hash
    assert MADE.supply == 15


def test_every_part_of_it_is_in_the_network_id() -> None:
    validators, accounts = [(KEY, 1, "one")], [(ADDRESS, 8)]
    hashes = {
        genesis("dev", 5, validators, accounts).hash,
        genesis("dev2", 5, validators, accounts).hash,
        genesis("dev", 6, validators, accounts).hash,
        genesis("dev", 5, [(KEY, 2, "one")], accounts).hash,
        genesis("dev", 5, validators, [(ADDRESS, 9)]).hash,
        genesis("dev", 5, validators, accounts, Parameters(fee_min=1)).hash,
    }
    assert len(hashes) == 6


def test_document_and_encoding_bring_the_same_genesis_back(tmp_path: Path) -> None:
    assert from_document(to_document(MADE)) == MADE
    assert decode(MADE.encoded) == MADE
    save(MADE, tmp_path / "genesis.json")
    assert load(tmp_path / "genesis.json").hash == MADE.hash


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: d["validators"].append(d["validators"][0]), "validators: a key stands twice"),
        (lambda d: d["accounts"].append(d["accounts"][0]), "accounts: an address stands twice"),
        (lambda d: d["accounts"][0].update(balance=str(SUPPLY_CAP)), "the cap is"),
        (lambda d: d["accounts"][0].update(balance="1.5"), r"\$.accounts\[0\].balance"),
        (lambda d: d["accounts"][1].update(address="prsm1nothing"), r"accounts\[1\].address"),
        (
            lambda d: d["accounts"][1].update(address=account_text(b"\x01" + bytes(32))),
            r"accounts\[1\].address: 0+ is an Ed25519 point of small order",
        ),
        (
            lambda d: d["validators"][1].update(key=validator_text(b"\xed" + b"\xff" * 31)),
            r"validators\[1\].key: edf+ is an Ed25519 point of small order, for which anyone can sign",
        ),
        (lambda d: d["validators"][0].update(power=0), r"\$.validators\[0\].power"),
        (lambda d: d["validators"].clear(), r"\$.validators"),
        (lambda d: d["parameters"].update(fee_min=-1), r"\$.parameters.fee_min"),
        (lambda d: d["parameters"].update(fee_mni=1), "fee_mni"),
        (lambda d: d.pop("network"), "network"),
    ],
)
def test_a_fault_is_named_by_its_field(change: object, sentence: str) -> None:
    document = msgspec.json.decode(to_document(MADE))
    assert callable(change)
    change(document)
    with pytest.raises(GenesisError, match=sentence):
        from_document(msgspec.json.encode(document))


def test_garbage_from_a_peer_is_refused_in_a_sentence() -> None:
    for data in (b"", b"\xc1", MADE.encoded[:-1], MADE.encoded + b"\x00", b"\x95\x01\x02\x03\x04\x05"):
        with pytest.raises(GenesisError, match="the genesis"):
            decode(data)


def test_a_key_that_anyone_can_sign_for_is_refused_from_a_peer_too() -> None:
    spoilt = MADE.encoded.replace(KEY, bytes(32))
    assert spoilt != MADE.encoded
    with pytest.raises(GenesisError, match=r"validators\[0\].key: 0+ is an Ed25519 point of small order"):
        decode(spoilt)


def test_another_encoding_of_the_same_values_is_not_this_genesis() -> None:
    name, time_ms, *rest = msgspec.msgpack.decode(MADE.encoded)
    assert time_ms == 5
    longer = MADE.encoded.replace(b"\xa3dev\x05", b"\xa3dev\xcc\x05")
    assert longer != MADE.encoded, (name, rest)
    with pytest.raises(GenesisError, match="canonical"):
        decode(longer)


def test_a_missing_file_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(GenesisError, match="can't be read"):
        load(tmp_path / "genesis.json")
