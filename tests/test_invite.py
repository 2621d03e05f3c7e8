"""Claims about invites."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsm_node.identity.peer_ids import peer_id
from prsm_node.invite import (
    DAY_MS,
    PREFIX,
    TEXT_CHARACTERS_MAX,
    Invite,
    InviteError,
    check_fresh,
    decode,
    encode,
)

WEEK_MS = 7 * DAY_MS
NODE = f"/ip4/203.0.113.7/tcp/7100/p2p/{peer_id(bytes(range(32)))}"
INVITE = Invite(genesis=b"g" * 32, height=12_345, block=b"b" * 32, time_ms=10 * WEEK_MS, addresses=(NODE,))

digests = st.binary(min_size=32, max_size=32)
invites = st.builds(
    Invite,
    genesis=digests,
    height=st.integers(0, 2**62),
    block=digests,
    time_ms=st.integers(0, 2**53),
    addresses=st.lists(st.just(NODE), min_size=1, max_size=4).map(tuple),
)


@given(invites)
def test_an_invite_survives_being_sent(invite: Invite) -> None:
    text = encode(invite)
    assert decode(text) == invite
    assert len(text) <= TEXT_CHARACTERS_MAX
    assert text.startswith(PREFIX)
    assert text.replace("-", "").isalnum()


def test_line_breaks_and_spaces_that_mail_adds_do_no_harm() -> None:
    text = encode(INVITE)
    assert decode(f"  {text[:40]}\n{text[40:]}\r\n") == INVITE


@given(st.data())
def test_any_one_mistyped_character_is_found(data: st.DataObject) -> None:
    text = encode(INVITE)
    place = data.draw(st.integers(len(PREFIX), len(text) - 1))
    typed = data.draw(st.characters(min_codepoint=33, max_codepoint=126))
    if typed != text[place]:
        with pytest.raises(InviteError, match="copy it again"):
            decode(text[:place] + typed + text[place + 1 :])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "this is no invite; one begins with prsm-invite-1"),
        ("hello", "this is no invite"),
        (PREFIX, "cut off or mistyped"),
        (encode(INVITE)[:-1], "cut off or mistyped"),
        (PREFIX + "1" * 3_000, "none has more than"),
    ],
)
def test_what_is_no_invite_is_said(text: str, says: str) -> None:
    with pytest.raises(InviteError, match=says):
        decode(text)


@pytest.mark.parametrize("address", ["", "203.0.113.7:7100", "/ip4/203.0.113.7/tcp/7100", NODE + "\n"])
def test_an_invite_with_an_address_that_cannot_be_dialled_is_refused(address: str) -> None:
    with pytest.raises(InviteError, match="can't be read"):
        decode(encode(Invite(b"g" * 32, 1, b"b" * 32, 1, (address,))))


def test_trust_ends_with_the_unbonding_time() -> None:
    check_fresh(INVITE, WEEK_MS, now_ms=INVITE.time_ms + WEEK_MS - 1)
    with pytest.raises(InviteError, match="7 days old, and trust ends after 7 days; ask for a new one"):
        check_fresh(INVITE, WEEK_MS, now_ms=INVITE.time_ms + WEEK_MS)


def test_a_block_from_the_future_is_a_wrong_clock() -> None:
    check_fresh(INVITE, WEEK_MS, now_ms=INVITE.time_ms - 60_000)
    with pytest.raises(InviteError, match="61 s in the future; set the clock"):
        check_fresh(INVITE, WEEK_MS, now_ms=INVITE.time_ms - 61_000)
