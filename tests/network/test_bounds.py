"""The bounds of a link and of what is remembered of peers: queues, rates, scores, addresses."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prsm_node.network import address_book, scores
from prsm_node.network.address_book import AddressBook
from prsm_node.network.addresses import Address, address_seen, node_key_of, parse_address, peer_id_of
from prsm_node.network.config import NetworkConfig
from prsm_node.network.outbox import IN_ORDER, QUEUE_BYTES_MAX, Outbox
from prsm_node.network.rates import Rates
from prsm_node.network.scores import Scores
from prsm_node.token_bucket import BURST_S, TokenBucket
from prsm_node.wire.frames import FRAME_OVERHEAD_MAX
from prsm_node.wire.kinds import KINDS, Kind, Priority


def address(index: int, port: int = 7_100) -> Address:
    return Address("ip4", "192.0.2.1", port, index.to_bytes(32, "big"))


@given(st.binary(min_size=32, max_size=32))
def test_a_peer_id_and_a_node_key_say_the_same(key: bytes) -> None:
    assert node_key_of(peer_id_of(key)) == key
    assert peer_id_of(key).startswith("12D3KooW")


def test_a_peer_id_is_libp2ps() -> None:
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.peer.id import ID

    pair = create_new_key_pair(b"\x05" * 32)
    assert peer_id_of(pair.public_key.to_bytes()) == str(ID.from_pubkey(pair.public_key))


@pytest.mark.parametrize(
    "text", [str(address(1)), "/ip6/::1/tcp/7100", "/dns4/node.example/tcp/1", "/ip4/0.0.0.0/tcp/0"]
)
def test_an_address_is_read_and_written_alike(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:7100",
        "/ip4/127.0.0.1/udp/7100",
        "/ip4/::1/tcp/7100",
        "/ip4/127.0.0.1/tcp/70000",
        "/ip4/127.0.0.1/tcp/-1",
        "/ip4/127.0.0.1/tcp/7100/p2p/",
        "/ip4/127.0.0.1/tcp/7100/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        "/ip4/127.0.0.1/tcp/7100/p2p/0OIl",
        "/ip4/127.0.0.1/tcp/7100/quic/12D3KooW",
        "/dns4/" + "a" * 300 + "/tcp/7100",
    ],
)
def test_what_is_no_address_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r" \w+ "):
        parse_address(text)


@settings(max_examples=40)
@given(st.text(max_size=80))
def test_no_text_makes_parsing_fail_otherwise(text: str) -> None:
    for candidate in (
        text,
        f"/ip4/{text}/tcp/1",
        f"/ip4/127.0.0.1/tcp/{text}",
        f"/ip4/1.1.1.1/tcp/1/p2p/{text}",
    ):
        try:
            parse_address(candidate)
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", "/ip4/192.0.2.1/tcp/7100"),
        ("2001:db8::1", "/ip6/2001:db8::1/tcp/7100"),
        ("fe80::1%eth0", "/ip6/fe80::1/tcp/7100"),
        ("node.example", ""),
        (None, ""),
    ],
)
def test_where_a_connection_comes_from_is_an_address_or_not_known(host: str | None, address: str) -> None:
    assert address_seen(host, 7_100) == address


@given(st.text(max_size=40), st.integers() | st.text(max_size=8))
def test_whatever_a_socket_says_of_its_other_end_can_be_read(host: str, port: object) -> None:
    seen = address_seen(host, port)
    assert not seen or str(parse_address(seen)) == seen


def test_messages_leave_in_order_of_priority_and_greetings_before_all() -> None:
    outbox = Outbox()
    for kind in reversed(IN_ORDER):
        outbox.put(kind, b"x")
    left = []
    while (taken := outbox.take()) is not None:
        left.append(taken[0])
    assert left[0] is Kind.HELLO
    assert [KINDS[kind].priority for kind in left] == sorted(KINDS[kind].priority for kind in left)
    assert (outbox.depth, outbox.depth_bytes, outbox.lost) == (0, 0, 0)


@given(st.lists(st.tuples(st.sampled_from(list(Kind)), st.integers(1, 200_000)), max_size=60))
def test_whatever_is_queued_every_frame_fits_and_nothing_is_lost_below_the_bound(
    puts: list[tuple[Kind, int]],
) -> None:
    outbox = Outbox()
    fitting = [
        (kind, size) for kind, size in puts if size + FRAME_OVERHEAD_MAX <= KINDS[kind].frame_bytes_max
    ]
    for kind, size in fitting:
        outbox.put(kind, bytes(size))
    count = 0
    while (taken := outbox.take()) is not None:
        kind, messages = taken
        count += len(messages)
        assert sum(map(len, messages)) + FRAME_OVERHEAD_MAX <= KINDS[kind].frame_bytes_max
    assert count + outbox.lost == len(fitting)
    assert outbox.depth_bytes == 0


def test_a_full_queue_drops_its_oldest() -> None:
    outbox, bound = Outbox(), QUEUE_BYTES_MAX[Priority.AGREEMENT]
    for index in range(bound // 1_000 + 10):
        outbox.put(Kind.VOTE, index.to_bytes(4, "big") + bytes(996))
    assert outbox.depth_bytes <= bound
    assert outbox.lost >= 10
    taken = outbox.take()
    assert taken is not None
    assert int.from_bytes(taken[1][0][:4], "big") == outbox.lost


def test_a_rate_lets_a_burst_pass_then_its_rate_and_no_more() -> None:
    rate = KINDS[Kind.VOTE].messages_per_s
    rates = Rates(0.0)
    assert rates.admit(Kind.VOTE, int(rate * BURST_S), 1, 0.0)
    assert not rates.admit(Kind.VOTE, 1, 1, 0.0)
    assert rates.admit(Kind.VOTE, rate, 1, 1.0)
    assert not rates.admit(Kind.VOTE, 1, KINDS[Kind.VOTE].bytes_per_s * 3, 100.0)
    assert rates.admit(Kind.HEARTBEAT, 1, 1, 0.0), "another kind has its own bucket"


def test_what_a_bucket_holds_is_asked_without_taking_it() -> None:
    bucket = TokenBucket(per_s=1.0, bound=2.0, now=0.0)
    assert bucket.holds(2.0, 0.0)
    assert bucket.holds(2.0, 0.0)
    assert not bucket.holds(2.1, 100.0)
    assert bucket.take(2.0, 100.0)
    assert not bucket.holds(0.5, 100.0)


def test_what_is_over_the_rate_of_bytes_takes_nothing_out_of_that_of_messages() -> None:
    rules, rates = KINDS[Kind.VOTE], Rates(0.0)
    assert not rates.admit(Kind.VOTE, 1, rules.bytes_per_s * 3, 0.0)
    assert rates.admit(Kind.VOTE, int(rules.messages_per_s * BURST_S), 1, 0.0)


def test_a_score_decays_its_last_fault_is_told_and_what_is_remembered_is_bounded() -> None:
    record = Scores()
    assert not record.fault(b"a" * 32, "wrong_signature", 0.0)
    assert record.score(b"a" * 32, 60.0) == pytest.approx(-25)
    assert record.fault(b"a" * 32, "wrong_session_proof", 60.0)
    assert record.score(b"a" * 32, 60.0) == scores.BANNED_BELOW / 2, "on probation"
    for index in range(scores.NODES_MAX + 10):
        record.fault(index.to_bytes(32, "big"), "silent", 100.0)
    assert len(record._records) == scores.NODES_MAX
    assert record.faults["silent"] == scores.NODES_MAX + 10


def test_who_greets_too_late_for_half_a_minute_is_busy_and_for_minutes_hostile() -> None:
    """No validator is known as one before it greeted: its bans would grow as a stranger's do."""
    record, late_s = Scores(), 5.5
    lasts = [record.fault(b"a" * 32, "late_greeting", turn * late_s) for turn in range(40)]
    assert not any(lasts[:6])
    assert any(lasts)


def test_an_address_book_is_bounded_and_keeps_what_the_operator_gave() -> None:
    book = AddressBook(bytes(32), NetworkConfig(), random.Random(1))
    assert book.learn(address(1), bootstrap=True)
    assert not book.learn(Address("ip4", "192.0.2.1", 1, bytes(32))), "our own"
    assert not book.learn(Address("ip4", "192.0.2.1", 1)), "nobody's"
    for index in range(2, 12 * address_book.NODES_MAX):
        host = f"{20 + index % 200}.{index // 200 % 250}.0.1"
        book.learn(Address("ip4", host, 7_100, index.to_bytes(32, "big")), source=f"{index % 1_000}")
    new = address_book.NEW_BUCKETS * address_book.NEW_PLACES
    assert new * 0.9 < len(book) - 1 <= new, "all that was only heard of; of tried places none is taken"
    for port in range(1, 100):
        book.learn(address(1, port))
    assert len(book.addresses(address(1).node_key or b"")) == address_book.ADDRESSES_PER_NODE_MAX
    assert book.addresses(address(1).node_key or b"")[0] == address(1)


@pytest.mark.parametrize("bootstrap", [True, False])
def test_waits_between_dials_double_to_their_bound_and_a_link_that_lasted_ends_them(bootstrap: bool) -> None:
    known = NetworkConfig(redial_min_s=0.2, redial_max_s=9.0, redial_known_max_s=5.0)
    heard_of = NetworkConfig(redial_min_s=0.2, redial_max_s=5.0, redial_known_max_s=9.0)
    book = AddressBook(bytes(32), known if bootstrap else heard_of, random.Random(1))
    book.learn(address(1), bootstrap=bootstrap)
    key, now, waits = address(1).node_key or b"", 0.0, []
    for _ in range(8):
        while not book.due(now, set(), room=True):
            now += 0.01
        book.dialling(key, now)
        began = now
        while not book.due(now, set(), room=True):
            now += 0.01
        waits.append(now - began)
    assert waits[0] < 0.3
    assert 3.9 < waits[-1] < 6.1
    book.unlinked(key, now, lasted_s=1.0)
    book.dialling(key, now)
    assert not book.due(now + 3, set(), room=True), "refused over there: the wait stays long"
    book.unlinked(key, now, lasted_s=60.0)
    assert book.due(now + 0.4, set(), room=True)
