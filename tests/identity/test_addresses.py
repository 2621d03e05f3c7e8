"""Claims about the texts that stand for accounts, validators and nodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsm_node.identity import base58, bech32m
from prsm_node.identity.addresses import (
    ED25519,
    account_text,
    address_of,
    parse_account,
    parse_validator,
    validator_text,
)
from prsm_node.identity.bech32m import MalformedText
from prsm_node.identity.peer_ids import peer_id
from prsm_node.ledger.transactions import KeyType

KEY = bytes(range(32))
keys = st.binary(min_size=32, max_size=32)


def test_the_encoding_is_the_one_of_bip_350() -> None:
    text = "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx"
    content = bytes.fromhex("ffbbcdeb38bdab49ca307b9ac5a928398a418820")
    assert bech32m.encode("abcdef", content) == text
    assert bech32m.decode("abcdef", text, 20, "it") == content
    assert bech32m.decode("a", "A1LQFN3A", 0, "it") == b""


def test_the_older_bech32_is_refused() -> None:
    with pytest.raises(MalformedText, match="checksum"):
        bech32m.decode("abcdef", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw", 20, "it")


@given(keys)
def test_an_address_survives_being_written_down(key: bytes) -> None:
    assert parse_account(account_text(address_of(key))) == address_of(key)
    assert parse_account(account_text(address_of(key)).upper()) == address_of(key)
    assert parse_validator(validator_text(key)) == key


@given(keys, st.integers(5, 63), st.sampled_from(bech32m.ALPHABET))
def test_any_one_mistyped_character_is_found(key: bytes, place: int, typed: str) -> None:
    text = account_text(address_of(key))
    mistyped = text[:place] + typed + text[place + 1 :]
    if mistyped != text:
        with pytest.raises(MalformedText, match="mistyped"):
            parse_account(mistyped)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "does not begin with prsm1"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "does not begin with prsm1"),
        (account_text(address_of(KEY))[:-1], "has 63 characters and should have 64; copy it again"),
        (account_text(address_of(KEY)).replace("q", "Q", 1), "mixes upper and lower case"),
        (account_text(address_of(KEY))[:-1] + "b", "contains 'b', which none does"),
        (validator_text(KEY), "is a validator; an account begins with prsm1"),
        (account_text(b"\x07" + KEY), "key type 7"),
        ("prsm1" + "\x1b" * 5_000, "does not begin|characters"),
    ],
)
def test_a_wrong_address_is_refused_with_its_fault_named(text: str, says: str) -> None:
    with pytest.raises(MalformedText, match=says) as refusal:
        parse_account(text)
    assert "\x1b" not in str(refusal.value)
    assert len(str(refusal.value)) < 250


def test_an_account_is_no_validator() -> None:
    with pytest.raises(MalformedText, match="does not begin with prsmv1"):
        parse_validator(account_text(address_of(KEY)))


def test_identity_and_ledger_number_key_types_alike() -> None:
    assert int(KeyType.ED25519) == ED25519


def test_a_node_is_named_as_libp2p_names_it() -> None:
    # The key of RFC 8032's second test, its name made with py-libp2p 0.8.1.
    key = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    assert peer_id(key) == "12D3KooWDwTirQce1RRKnasT5fPVFgzXCy6SiRgSwrwPGLC7zE91"


@given(st.binary(max_size=64))
def test_base58_gives_back_what_it_was_given(content: bytes) -> None:
    assert base58.decode(base58.encode(content)) == content


def test_base58_is_bitcoins() -> None:
    # draft-msporny-base58, section 5.
    assert base58.encode(b"Hello World!") == "2NEpo7TZRRrLZSi2U"
    assert base58.encode(bytes.fromhex("0000287fb4cd")) == "11233QC4"


@pytest.mark.parametrize("text", ["0", "l", "é", "1" * 5_000])
def test_what_is_no_base58_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"lacks|at most"):
        base58.decode(text)
