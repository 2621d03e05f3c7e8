"""PROTOCOL, Twin: what is proven keeps a node silent, what is claimed does not, and who waits recovers."""

from collections.abc import Callable

import msgspec
import trio
import trio.testing

from consensus.blocks import Block, Proposal
from consensus.dissemination.batches import BatchHeader
from consensus.guard import Guard, Step
from consensus.validators import ValidatorSet
from consensus.votes import Vote, VoteKind
from prsm_node.consensus_host.checks import Checks
from prsm_node.consensus_host.sessions import (
    LiveSessions,
    ProvenSession,
    SessionSeen,
    encode_authored,
    encode_seen,
)
from prsm_node.consensus_host.signer import Signer
from prsm_node.consensus_host.twin import CLEAR_RECHECKS, RECHECK_S, Silence, TwinCheck
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import SequenceWanted, SessionWanted, SignedWanted, Wanted

NETWORK = b"n" * 32
KEY, LIAR = SigningKey.from_seed(b"m" * 32), SigningKey.from_seed(b"l" * 32)
ME = KEY.public
B, C, D = (bytes([letter]) * 32 for letter in b"BCD")
HERE, THERE = b"h" * 32, b"t" * 32
"""The node keys of this node and of its twin."""
FOUR = ValidatorSet([(key, 1) for key in (ME, B, C, D)])
VALIDATORS = {1: B, 2: C, 3: D}
SIGNED = Guard(height=9, round=1, step=Step.PRECOMMIT, signed=(b"x",))
NO_SESSION = msgspec.msgpack.encode(SessionSeen(False, None))
UNPROVEN = msgspec.msgpack.encode(SessionSeen(True, None))
NOTHING = encode_seen(None)

Answer = Callable[[Wanted], bytes | None]


class NoLinks:
    def holders(self, validator: bytes, besides: int) -> list[int]:
        return []

    async def ask(self, link: int, wanted: Wanted, deadline_s: float) -> bytes | None:
        raise AssertionError("there is nobody to hand a question on to")


class LinkTo(NoLinks):
    """One link, 9, to a node that proved the key."""

    def __init__(self, to: LiveSessions) -> None:
        self._to = to

    def holders(self, validator: bytes, besides: int) -> list[int]:
        return [9]

    async def ask(self, link: int, wanted: Wanted, deadline_s: float) -> bytes | None:
        assert isinstance(wanted, SessionWanted)
        return await self._to.answer(1, wanted)


class Peers:
    """Links 1 to 3 answer what they are told to: bytes for SignedWanted, and whom they know in a session."""

    def __init__(
        self, *signed: bytes | None, sessions: dict[int, LiveSessions | bytes] | None = None
    ) -> None:
        self.signed = dict(enumerate(signed, start=1))
        self.sessions = sessions or {}
        self.authored: dict[int, bytes] = {}
        self.twins: list[int] = []
        self.faults: list[int] = []

    def broadcast(self, kind: Kind, message: bytes) -> None: ...

    def send(self, link: int, kind: Kind, message: bytes) -> bool:
        return True

    def link_of(self, validator: bytes) -> int | None:
        return None

    def validator_of(self, link: int) -> bytes | None:
        return ME if link in self.twins else VALIDATORS.get(link)

    def links(self) -> list[int]:
        return [*self.signed, *self.twins]

    async def ask(self, link: int, wanted: Wanted, deadline_s: float) -> bytes | None:
        await trio.sleep(0.01)
        if isinstance(wanted, SignedWanted):
            return self.signed[link]
        if isinstance(wanted, SequenceWanted):
            return self.authored.get(link, encode_authored(None))
        assert isinstance(wanted, SessionWanted)
        known = self.sessions.get(link, NO_SESSION)
        return known if isinstance(known, bytes) else await known.answer(0, wanted)

    def checked(self, link: int, signatures: int) -> None:
        """Nothing is charged here."""

    def fault(self, link: int, reason: str) -> None:
        self.faults.append(link)


def twin_check(
    peers: Peers, guard: Guard, validators: ValidatorSet = FOUR, checks: Checks | None = None
) -> TwinCheck:
    numbers = iter(range(1, 1_000))
    return TwinCheck(
        network=NETWORK,
        node_key=HERE,
        me=ME,
        guard=guard,
        checks=checks or Checks(NETWORK),
        outbox=peers,
        validators=lambda: validators,
        authored=lambda: 5,
        entropy=lambda size: next(numbers).to_bytes(size, "big"),
    )


async def check(peers: Peers, guard: Guard, validators: ValidatorSet = FOUR) -> tuple[Silence | None, float]:
    start = trio.current_time()
    found = await twin_check(peers, guard, validators).check(1.0)
    return found, trio.current_time() - start


def voted(height: int, round_: int, by: SigningKey = KEY) -> Vote:
    signer = Signer(NETWORK, by, Checks(NETWORK))
    return signer.vote(Vote(VoteKind.PREVOTE, height, round_, None, -1, 0, ME))


class SessionOfMe:
    """Shows our validator key and signs with `by`."""

    def __init__(self, by: SigningKey) -> None:
        self.key = ME
        self.session = b"session of a twin"
        self._by = by

    def sign_session(self, message: bytes) -> bytes:
        return self._by.sign(message)


def running(node_key: bytes, by: SigningKey = KEY) -> LiveSessions:
    """A node that runs our validator key, or says so."""
    return LiveSessions(NETWORK, node_key, SessionOfMe(by), NoLinks())


AS_I_KNOW = encode_seen(voted(9, 1))


async def test_a_quorum_that_knows_of_nothing_more_lets_us_vote_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    found, took_s = await check(Peers(AS_I_KNOW, NOTHING), SIGNED)
    assert found is None
    assert took_s < 0.1


async def test_who_hears_nothing_waits_for_the_deadline_and_votes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    found, took_s = await check(Peers(None), SIGNED)
    assert found is None
    assert 0.99 < took_s < 1.1


async def test_a_vote_of_ours_beyond_our_guard_keeps_us_silent_for_good(
    autojump_clock: trio.testing.MockClock,
) -> None:
    found, _ = await check(Peers(encode_seen(voted(10, 0))), SIGNED)
    assert found is not None
    assert "height 10" in found.reason
    assert not found.passes


async def test_a_proposal_of_ours_beyond_our_guard_keeps_us_silent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    block = Block(12, bytes(32), 1, ME, (), (), bytes(32), bytes(32))
    proposal = Signer(NETWORK, KEY, Checks(NETWORK)).proposal(Proposal(0, -1, ME, block))
    found, _ = await check(Peers(encode_seen(proposal)), SIGNED)
    assert found is not None
    assert "height 12" in found.reason


async def test_one_liar_cannot_keep_us_from_voting(autojump_clock: trio.testing.MockClock) -> None:
    for lie in (encode_seen(voted(99, 0, by=LIAR)), b"\xc1"):
        peers = Peers(lie, NOTHING, NOTHING)
        found, took_s = await check(peers, SIGNED)
        assert (found, peers.faults) == (None, [1])
        assert took_s < 0.1, "a forged claim is no answer, and two good ones are a quorum's"


async def test_a_forged_session_is_a_fault_and_counts_for_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers(NOTHING, NOTHING, NOTHING, sessions={1: running(THERE, by=LIAR)})
    assert (await check(peers, SIGNED))[0] is None
    assert peers.faults == [1]


async def test_the_proof_of_an_earlier_challenge_proves_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    old = await running(THERE).answer(0, SessionWanted(ME, b"\xff" * 32))
    peers = Peers(NOTHING, NOTHING, NOTHING, sessions={1: old})
    assert (await check(peers, SIGNED))[0] is None
    assert peers.faults == [1]


async def test_a_live_session_proven_through_a_peer_keeps_us_silent_while_it_lives(
    autojump_clock: trio.testing.MockClock,
) -> None:
    relay = LiveSessions(NETWORK, B, None, LinkTo(running(THERE)))
    found, _ = await check(Peers(NOTHING, sessions={1: relay}), SIGNED)
    assert found is not None
    assert "another node" in found.reason
    assert found.passes


async def test_a_link_to_the_twin_itself_is_proof(autojump_clock: trio.testing.MockClock) -> None:
    peers = Peers(NOTHING, NOTHING)
    peers.twins.append(7)
    found, _ = await check(peers, SIGNED)
    assert found is not None
    assert found.passes


async def test_our_own_session_is_no_twin(autojump_clock: trio.testing.MockClock) -> None:
    relay = LiveSessions(NETWORK, B, None, LinkTo(running(HERE)))
    assert (await check(Peers(NOTHING, NOTHING, sessions={1: relay}), SIGNED))[0] is None


async def test_unproven_reports_count_from_more_than_a_third(autojump_clock: trio.testing.MockClock) -> None:
    one = Peers(NOTHING, NOTHING, NOTHING, sessions={1: UNPROVEN})
    assert (await check(one, SIGNED))[0] is None
    assert one.faults == []
    two = Peers(NOTHING, NOTHING, sessions={1: UNPROVEN, 2: UNPROVEN})
    found, _ = await check(two, SIGNED)
    assert found is not None
    assert found.passes


async def test_who_was_kept_out_votes_once_a_quorum_sees_the_other_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers(NOTHING, NOTHING, NOTHING, sessions={1: running(THERE)})
    told: list[str] = []
    ended: list[tuple[str, float]] = []

    async def waits() -> None:
        ended.append((await twin_check(peers, SIGNED).until_alone(1.0, told.append), trio.current_time()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits)
        await trio.sleep(60)
        assert len(told) == 1, "it says so once"
        assert not ended
        # The other has gone, but only one validator is left to say so: that is no quorum.
        peers.sessions.clear()
        peers.signed = {2: NOTHING}
        await trio.sleep(60)
        assert not ended
        peers.signed = {1: NOTHING, 2: NOTHING}
        gone = trio.current_time()
    reason, at = ended[0]
    assert reason == ""
    assert at - gone < (CLEAR_RECHECKS + 1) * (RECHECK_S + 1)


async def test_a_home_that_never_signed_waits_for_a_quorum_however_long_and_then_votes_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It may have lost its disk: a deadline would let it sign at heights that it signed before."""
    peers = Peers(NOTHING)
    told: list[str] = []
    ended: list[tuple[str, float]] = []

    async def waits() -> None:
        ended.append((await twin_check(peers, Guard()).until_alone(1.0, told.append), trio.current_time()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits)
        await trio.sleep(60)
        assert len(told) == 1
        assert not ended
        peers.signed[2] = NOTHING
        came = trio.current_time()
    reason, at = ended[0]
    assert reason == ""
    assert at - came < 2


async def test_a_home_that_forgot_what_its_key_signed_never_votes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers()

    async def waits() -> None:
        reason = await twin_check(peers, Guard()).until_alone(1.0, lambda reason: None)
        assert "height 10" in reason

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits)
        await trio.sleep(10)
        peers.signed[3] = encode_seen(voted(10, 0))


async def test_who_was_kept_out_never_votes_where_the_other_signed_meanwhile(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers(NOTHING, NOTHING, NOTHING, sessions={1: running(THERE)})
    async with trio.open_nursery() as nursery:

        async def waits() -> None:
            reason = await twin_check(peers, SIGNED).until_alone(1.0, lambda reason: None)
            assert "height 10" in reason

        nursery.start_soon(waits)
        await trio.sleep(10)
        peers.sessions.clear()
        peers.signed[3] = encode_seen(voted(10, 0))
        peers.signed.pop(1)


def authored(sequence: int, by: SigningKey = KEY) -> bytes:
    header = BatchHeader(ME, sequence, bytes(32), bytes(32))
    return encode_authored(Signer(NETWORK, by, Checks(NETWORK)).batch(header))


async def test_who_forgot_a_batch_of_its_lane_stays_silent_before_it_seals_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers(NOTHING, NOTHING, NOTHING)
    peers.authored[1] = authored(5)
    assert (await check(peers, SIGNED))[0] is None
    peers.authored[1] = authored(6)
    found, _ = await check(peers, SIGNED)
    assert found is not None
    assert "batch 6" in found.reason
    assert not found.passes


async def test_a_forged_batch_of_our_lane_is_a_fault_and_no_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers(NOTHING, NOTHING, NOTHING)
    peers.authored[1] = authored(6, by=LIAR)
    assert (await check(peers, SIGNED))[0] is None
    assert peers.faults == [1]


async def test_a_network_of_one_asks_nobody(autojump_clock: trio.testing.MockClock) -> None:
    assert await check(Peers(), Guard(), ValidatorSet([(ME, 1)])) == (None, 0.0)


async def test_an_answer_names_the_node_that_gave_it() -> None:
    answer = await running(THERE).answer(0, SessionWanted(ME, bytes(32)))
    proof = msgspec.msgpack.decode(answer, type=SessionSeen).proof
    assert isinstance(proof, ProvenSession)
    assert proof.node_key == THERE
