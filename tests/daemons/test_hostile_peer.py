"""Against live daemons: peers that lie, flood, stall or talk garbage, and transactions nobody should take.

Three of four validators run; the fourth's key is the attacker's. After each act the reason is counted, the
daemon lives and a transfer gets final; at the end its memory is as it was.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from consensus.blocks import Proposal, Tip, block_digest
from consensus.certificates import Certificate, CertificateVote
from consensus.dissemination.acknowledgements import Acknowledgement, TipCertificate
from consensus.evidence import VoteEquivocation
from consensus.votes import Vote, VoteKind
from prsm_node.bench.funds import Purse
from prsm_node.cli.passphrase import passphrase_of
from prsm_node.control.client import Client
from prsm_node.control.views import AccountView
from prsm_node.home import Home
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.identity.keystore import KeyKind, unlock
from prsm_node.ledger.transactions import Transfer, signing_bytes, unsigned_bytes, with_signature
from prsm_node.wire.frames import encode_message
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import (
    Batch,
    BatchWanted,
    BlocksWanted,
    BlockWanted,
    CertificateWanted,
    Committed,
    GenesisWanted,
    Gossip,
    GroupWanted,
    HeadersWanted,
    Outcome,
    Request,
    Response,
    SequenceWanted,
    SignedWanted,
    SnapshotWanted,
    Wanted,
)
from tests.daemons.bad_frames import bad_frames
from tests.daemons.fleet import Net, status, until
from tests.daemons.hostile_peer import HostilePeer
from tests.daemons.target import HASH, JUNK_KEY, Target

pytestmark = pytest.mark.daemons

GROWS_MAX_MB = 20.0
GENESIS_TOPIC = 1
FAULT = "links.fault."
Frames = Sequence[tuple[Kind, Any]]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    net = Net(tmp_path_factory.mktemp("hostile"))
    try:
        net.start(*net.homes[:3])
        net.wait_voting(*net.homes[:3])
        yield Target(net)
    finally:
        net.end_all()


async def test_every_bad_frame_is_named_and_who_goes_on_is_banned(target: Target) -> None:
    reasons = list(bad_frames(HostilePeer(target.genesis), target.genesis))
    async with target.counts(*(FAULT + reason for reason in reasons)):
        for reason in reasons:
            async with HostilePeer(target.genesis).linked(target.address) as peer:
                frame = bad_frames(peer, target.genesis)[reason]
                for _ in range(3):
                    await peer.write(frame)
                if reason not in ("unknown_kind", "replayed", "malformed_payload"):
                    with trio.fail_after(5):
                        await peer.gone.wait()
    async with target.attacked(FAULT + "over_rate") as peer:
        for _ in range(400):
            await peer.say(Kind.HEARTBEAT, (7, 1, 0, 0))
        with trio.fail_after(5):
            await peer.gone.wait()
    await target.still_works()


async def test_hostile_votes_certificates_and_proposals_are_named(target: Target) -> None:
    honest = tuple(CertificateVote(voter, -1, b"s" * 64) for voter in target.honest)

    def polka(height: int, **changes: Any) -> Frames:
        certificate = Certificate(VoteKind.PREVOTE, height, 0, HASH, honest)
        return [(Kind.CERTIFICATE, replace(certificate, **changes))]

    def stranger(height: int) -> Frames:
        vote = Vote(VoteKind.PREVOTE, height, 0, HASH, -1, 0, JUNK_KEY.public)
        return [(Kind.VOTE, target.stranger.vote(vote))]

    def forged(height: int) -> Frames:
        return [(Kind.VOTE, target.vote(height, r, voter)) for r in range(8) for voter in target.honest]

    def committed(height: int, **changes: Any) -> Frames:
        block = target.block(height)
        commit = Certificate(VoteKind.PRECOMMIT, height, 0, block_digest(block), honest)
        return [(Kind.COMMITTED, Committed(block, replace(commit, **changes)))]

    def unsigned(height: int) -> Frames:
        mine = target.round_of(height, mine=True)
        proposal = Proposal(mine, -1, target.key.public, target.block(height), signature=b"s" * 64)
        return [(Kind.PROPOSAL, proposal)]

    def slander(height: int) -> Frames:
        vote = replace(target.vote(height), voter=target.honest[1])
        return [(Kind.EVIDENCE, VoteEquivocation(vote, replace(vote, value=None)))]

    acts: list[tuple[str, Callable[[int], Frames]]] = [
        ("vote.voter", stranger),
        ("vote.marks", lambda height: [(Kind.VOTE, replace(target.vote(height), diverged=3))]),
        ("vote.signature", forged),
        ("certificate.votes", polka),
        ("certificate.votes", lambda height: polka(height, votes=honest[:1] * 3)),
        ("certificate.votes", lambda height: polka(height, votes=honest[:1])),
        ("certificate.votes", lambda height: polka(height, round=2**31)),
        (
            "certificate.votes",
            lambda height: polka(height, votes=(*honest, CertificateVote(JUNK_KEY.public, -1, b""))),
        ),
        ("committed.certificate", lambda height: committed(height, value=HASH)),
        ("committed.certificate", lambda height: committed(height, kind=VoteKind.PREVOTE)),
        ("committed.certificate.votes", committed),
        ("proposal.signature", unsigned),
        ("evidence.clash", lambda height: [(Kind.EVIDENCE, VoteEquivocation(*[target.vote(height)] * 2))]),
        ("evidence.signature", slander),
    ]
    for reason, frames in acts:
        async with target.attacked(FAULT + reason) as peer:
            for kind, message in frames(target.height()):
                await peer.say(kind, message)
    # What costs its sender nothing must cost the daemon nothing.
    async with target.attacked(validator=target.key) as peer:
        height = target.height()
        for distance in (1, 2, 3, 10, 2**40):
            for round_ in (0, 1, 2**31):
                await peer.say(Kind.VOTE, target.vote(height + distance, round_))
                for kind, certificate in polka(height + distance, round=round_):
                    await peer.say(kind, certificate)
        absurd = (Tip(target.key.public, 2**60, HASH), Tip(JUNK_KEY.public, 1, HASH))
        # One at each place: two would have it jailed.
        changes: tuple[dict[str, Any], ...] = ({"time_ms": 2**53}, {"tips": absurd}, {"tips": absurd[:1]})
        for round_ in range(40):
            for at in (height, height + 1, height + 9):
                block = target.block(at, **changes[round_ // 4 % 3])
                made = Proposal(round_, -1, target.key.public, block)
                await peer.say(Kind.PROPOSAL, target.faulty.proposal(made))
        other = target.round_of(height, mine=False)
        wrong = Proposal(other, -1, target.key.public, target.block(height))
        await peer.say(Kind.PROPOSAL, target.faulty.proposal(wrong))
    await target.still_works()


async def test_hostile_batches_and_acknowledgements_are_named(target: Target) -> None:
    body = encode_message([target.purse.pay(target.purse.address, 1)])
    wrong_network = replace(target.purse.network, genesis_hash=HASH)
    signed_elsewhere = Purse(target.purse._key, wrong_network, 10_000).pay(target.purse.address, 1)
    target.purse._nonce -= 1
    own = target.honest[0]
    forged = tuple((key, b"s" * 64) for key in target.honest)
    stranger_signed = target.stranger.acknowledgement(Acknowledgement(own, 1, HASH, JUNK_KEY.public))
    acts: list[tuple[str, Kind, Any]] = [
        (FAULT + "batch.signature", Kind.BATCH, target.batch(20, body, key=target.honest[1])),
        (FAULT + "batch.body", Kind.BATCH, Batch(target.batch(1, body).header, b"another")),
        (FAULT + "batch.body: malformed", Kind.BATCH, target.batch(1, b"garbage")),
        (FAULT + "batch.body: malformed", Kind.BATCH, target.batch(1, encode_message([b"none"]))),
        (FAULT + "batch.body: empty", Kind.BATCH, target.batch(1, encode_message([]))),
        (
            FAULT + "batch.body: wrong_signature",
            Kind.BATCH,
            target.batch(1, encode_message([signed_elsewhere])),
        ),
        ("consensus.batches_unwanted", Kind.BATCH, target.batch(500, body)),
        ("consensus.batches_unwanted", Kind.BATCH, target.batch(1, body, key=JUNK_KEY.public)),
        (FAULT + "acknowledgement.voter", Kind.ACKNOWLEDGEMENT, stranger_signed),
        (
            "consensus.acknowledgements_unwanted",
            Kind.ACKNOWLEDGEMENT,
            target.faulty.acknowledgement(Acknowledgement(own, 999, HASH, target.key.public)),
        ),
        (
            FAULT + "tip_certificate.votes",
            Kind.TIP_CERTIFICATE,
            TipCertificate(target.key.public, 3, HASH, forged),
        ),
        (
            FAULT + "tip_certificate.votes",
            Kind.TIP_CERTIFICATE,
            TipCertificate(target.key.public, 3, HASH, forged[:1] * 3),
        ),
    ]
    for reason, kind, message in acts:
        async with target.attacked(reason) as peer:
            await peer.say(kind, message)
    await target.still_works()


async def test_thousands_of_orphans_of_a_faulty_author_are_not_kept(target: Target) -> None:
    transfer = unsigned_bytes(target.purse.address, 0, 1, (Transfer(target.purse.address, 1),), b"m" * 200)
    raw = with_signature(
        transfer, target.purse._key.sign(signing_bytes(target.network.genesis_hash, transfer))
    )
    body = encode_message([raw])
    before = target.memory_mb()
    async with target.attacked("consensus.batches_unwanted", validator=target.key) as peer:
        for number in range(800):
            parent = sha256(number.to_bytes(4, "big")).digest()
            await peer.say(Kind.BATCH, target.batch(2 + number % 20, body, parent))
        assert not peer.gone.is_set()
    await target.still_works()
    assert target.memory_mb() - before < GROWS_MAX_MB


async def test_requests_in_floods_are_answered_within_bounds(target: Target) -> None:
    wanted: list[Wanted] = [
        BatchWanted(HASH),
        BlocksWanted(1, 64),
        BlocksWanted(2**62, 64),
        CertificateWanted(target.key.public, 1, HASH),
        CertificateWanted(JUNK_KEY.public, 2**62, HASH),
        BlockWanted(0, HASH),
        BlockWanted(2**62, HASH),
        GenesisWanted(),
        SequenceWanted(JUNK_KEY.public),
        SignedWanted(JUNK_KEY.public),
        HeadersWanted(2**62, 1_024),
        SnapshotWanted(0),
        SnapshotWanted(2**62),
        GroupWanted(2**62, 2**18 - 1, HASH),
    ]
    before = target.memory_mb()
    async with target.attacked() as peer:
        for number, each in enumerate(wanted, start=1):
            await peer.say(Kind.REQUEST, Request(number, each))
        with trio.fail_after(5):
            while len(wanted) > len(peer.answered()):  # noqa: ASYNC110
                await trio.sleep(0.02)
    async with target.attacked(FAULT + "requests_over_bound") as peer:
        for number in range(0, 2_000, 50):
            asked = [Request(number + place, BlocksWanted(1, 64)) for place in range(1, 51)]
            await peer.say(Kind.REQUEST, *asked)
    async with target.attacked(FAULT + "unasked_response") as peer:
        for number in range(20):
            await peer.say(Kind.RESPONSE, Response(number + 1, Outcome.FOUND, 0, 64, b"unasked" * 1_000))
    # A reader that stalls costs one answer at a time.
    async with target.attacked() as peer:
        peer.reads = False
        for number in range(1, 17):
            await peer.say(Kind.REQUEST, Request(number, BlocksWanted(1, 64)))
        await trio.sleep(1)
    await target.still_works()
    assert target.memory_mb() - before < GROWS_MAX_MB


async def test_answers_that_are_late_or_something_else_delay_nobody(target: Target) -> None:
    unreadable = (b"\x91\x94" + b"\x91" * 60_000, b"\xc1", encode_message((None, None, None)), b"")
    for lie in unreadable:
        async with target.attacked(FAULT + "sync.unreadable") as peer:
            peer.answers = lie
            peer.height = 2**62
            await peer.first(Kind.REQUEST, 8)
    async with target.attacked(FAULT + "late_answer") as peer:
        peer.height = 2**62
        await peer.first(Kind.REQUEST, 8)
        await trio.sleep(5.5)
    until(lambda: not status(target.home).syncing, "it does not sync for ever")
    await target.still_works()


async def test_junk_transactions_and_gossip_are_named_and_go_no_further(target: Target) -> None:
    def signed(nonce: int, fee: int, amount: int, memo: bytes = b"", network: bytes = b"") -> bytes:
        key, to = target.purse._key, target.purse.address
        unsigned = unsigned_bytes(to, nonce, fee, (Transfer(to, amount),), memo)
        return with_signature(unsigned, key.sign(signing_bytes(network or target.genesis, unsigned)))

    fee = target.network.fee_min
    with Client(target.home) as client:
        richer = client.ask("account", AccountView, address=target.purse.address).balance + 1
    refused: dict[str, Callable[[int], bytes]] = {
        "malformed": lambda nonce: b"no transaction",
        "wrong_signature": lambda nonce: signed(nonce, fee, 1, network=HASH),
        "overdrawn": lambda nonce: signed(nonce, fee, richer),
        "nonce_spent": lambda nonce: signed(0, fee, 2),
        "nonce_too_far": lambda nonce: signed(nonce + 10**9, fee, 1),
        "fee_too_low": lambda nonce: signed(nonce, 0, 1),
    }
    for reason, made in refused.items():
        raw = made(target.purse._nonce)
        async with target.counts(f"mempool.{reason}"):
            with Client(target.home) as client:
                told = client.ask("submit", list[tuple[bool, str]], transactions=[raw])
            assert told == [(False, reason)]
        async with target.attacked(f"mempool.{reason}") as peer:
            await peer.say(Kind.TRANSACTIONS, raw)
    good = signed(target.purse._nonce, fee, 1)
    before = target.counters().get("links.gossip_duplicates", 0)
    acts: list[tuple[str, Kind, list[Any]]] = [
        (FAULT + "transaction.malformed", Kind.TRANSACTIONS, [os.urandom(16_000) for _ in range(8)]),
        (FAULT + "transaction.wrong_signature", Kind.TRANSACTIONS, [good[:-1] + b"\x00"] * 4),
        (FAULT + "unknown_topic", Kind.GOSSIP, [Gossip(9, os.urandom(500)) for _ in range(20)]),
        (FAULT + "bad_gossip", Kind.GOSSIP, [Gossip(GENESIS_TOPIC, os.urandom(500)) for _ in range(8)]),
        (
            FAULT + "transaction.malformed",
            Kind.GOSSIP,
            [Gossip(GENESIS_TOPIC, encode_message([os.urandom(99)])) for _ in range(8)],
        ),
    ]
    for reason, kind, messages in acts:
        async with target.attacked(reason) as peer:
            await peer.say(kind, *messages)
    for home in target.net.homes[1:3]:
        with Client(home) as client:
            counted = client.ask("counters", dict[str, float])
        assert not any(name.startswith(FAULT + "transaction.") for name in counted), "junk was handed on"
    assert target.counters().get("links.gossip_duplicates", 0) == before
    async with target.attacked() as peer:
        for _ in range(20):
            await peer.say(Kind.HAVE, tuple(os.urandom(32) for _ in range(500)))
            await peer.say(Kind.WANT, tuple(os.urandom(32) for _ in range(500)))
    await target.still_works()


async def test_one_sender_takes_no_more_than_its_window(target: Target) -> None:
    first = target.purse._nonce
    target.purse._nonce += 5  # a gap: nothing of what follows can be ordered
    ahead = [target.purse.pay(target.purse.address, 1) for _ in range(4_200)]
    before = target.memory_mb()
    try:
        async with HostilePeer(target.genesis).linked(target.address) as peer:
            async with target.counts("mempool.nonce_too_far"):
                for start in range(0, len(ahead), 50):
                    await peer.say(Kind.TRANSACTIONS, *ahead[start : start + 50])
            assert target.counters()["mempool.items"] < 4_200
    finally:
        target.purse._nonce = first
    await target.still_works()
    assert target.memory_mb() - before < GROWS_MAX_MB


async def test_bad_addresses_stalled_readers_and_idle_crowds_keep_nobody_out(target: Target) -> None:
    ids = [SigningKey.from_seed(bytes([n]) * 32).public for n in range(64)]
    from prsm_node.network.addresses import peer_id_of

    async with target.attacked("links.addresses_refused.unreadable") as peer:
        await peer.say(Kind.PEERS, tuple("/ip4/999.1.1.1/tcp/1" for _ in range(64)))
        await peer.say(Kind.PEERS, tuple(f"/ip4/127.0.0.1/tcp/9/p2p/{peer_id_of(key)}" for key in ids))
        await trio.sleep(1.0)
    assert target.counters()["links.addresses"] <= 1_024
    async with trio.open_nursery() as nursery:
        crowd = [HostilePeer(target.genesis) for _ in range(24)]
        ungreeted = crowd[:20]

        async def idle(peer: HostilePeer, greets: bool) -> None:
            with suppress(Exception):
                async with peer.linked(target.address, greets):
                    await peer.gone.wait()

        for peer in crowd:
            nursery.start_soon(idle, peer, peer not in ungreeted)
        await trio.sleep(1.0)
        async with target.attacked() as newcomer:  # fails where it cannot greet
            assert not newcomer.gone.is_set()
        nursery.cancel_scope.cancel()


async def test_a_twin_session_of_a_validator_takes_no_duty_from_it(target: Target) -> None:
    key = unlock(
        Home(target.net.homes[1]).validator_key,
        KeyKind.VALIDATOR,
        passphrase_of(Home(target.net.homes[1])),
    )
    async with target.attacked(validator=key):
        await target.still_works()
        assert status(target.net.homes[1]).voting


async def test_after_all_that_memory_is_flat_and_all_are_at_one_height(target: Target) -> None:
    for _ in range(5):
        await target.still_works()
    print(f"{target.memory_mb():.0f} MB")
    homes = target.net.homes[:3]
    until(lambda: len({status(home).height for home in homes}) == 1, "all are at one height")
    assert all(status(home).voting for home in homes)
