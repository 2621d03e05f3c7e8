"""Claims about signing and about the one rule by which signatures are good."""

import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsm_node.identity.ed25519 import SIGN_BIT, SMALL_ORDER_Y, SigningKey, of_small_order, verify

IDENTITY_POINT = b"\x01" + bytes(31)


def test_a_signature_is_the_one_of_rfc_8032() -> None:
    # Section 7.1, test 2.
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    key = SigningKey.from_seed(seed)
    assert key.public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert key.seed() == seed


def test_a_signature_is_good_for_its_message_and_key_only() -> None:
    key, other = SigningKey.generate(), SigningKey.generate()
    signature = key.sign(b"a vote")
    assert verify(key.public, signature, b"a vote")
    assert not verify(key.public, signature, b"another vote")
    assert not verify(other.public, signature, b"a vote")


def test_the_rule_is_zip_215_which_accepts_points_of_small_order() -> None:
    # R and A are the identity and s is 0, so that sB = R + kA; stricter rules refuse it.
    assert verify(IDENTITY_POINT, IDENTITY_POINT + bytes(32), b"anything")


@pytest.mark.parametrize("y", sorted(SMALL_ORDER_Y))
@pytest.mark.parametrize("sign", [0, SIGN_BIT])
def test_anyone_can_sign_for_a_key_of_small_order(y: int, sign: int) -> None:
    key = (y | sign).to_bytes(32, "little")
    assert of_small_order(key)
    assert verify(key, IDENTITY_POINT + bytes(32), b"anything")


@given(st.integers(0, 2**256 - 1) | st.sampled_from(sorted(SMALL_ORDER_Y)).map(lambda y: y + 1))
def test_for_no_other_key_can_anyone_sign(number: int) -> None:
    key = number.to_bytes(32, "little")
    assert of_small_order(key) == verify(key, IDENTITY_POINT + bytes(32), b"anything")


def test_the_keys_that_are_made_are_of_large_order() -> None:
    assert not any(of_small_order(SigningKey.generate().public) for _ in range(100))


@given(st.binary(max_size=40), st.binary(max_size=80), st.binary(max_size=40))
def test_bytes_of_any_length_are_judged_without_an_exception(
    key: bytes, signature: bytes, message: bytes
) -> None:
    assert verify(key, signature, message) in (True, False)


def test_a_key_drawn_from_a_given_source_is_the_same_each_time() -> None:
    def source(count: int) -> bytes:
        return bytes(range(count))

    assert SigningKey.generate(source).public == SigningKey.generate(source).public


def test_a_key_shows_nobody_its_secret() -> None:
    key = SigningKey.generate()
    assert key.seed().hex() not in repr(key)
    assert key.public.hex() in repr(key)
    with pytest.raises(TypeError, match="does not travel"):
        pickle.dumps(key)


def test_checking_signatures_does_not_load_what_signing_needs() -> None:
    code = "import sys, prsm_node.identity.ed25519; print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
