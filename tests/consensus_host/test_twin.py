"""The twin check: a quorum's answers or a deadline, and what makes a node stay silent (PROTOCOL, Twin)."""

import msgspec
import trio
import trio.testing

from consensus.guard import Guard, Step
from consensus.validators import ValidatorSet
from prsm_node.consensus_host.answers import SignedPlace
from prsm_node.consensus_host.twin import find_twin
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import Wanted

ME, B, C, D = (bytes([letter]) * 32 for letter in b"MBCD")
FOUR = ValidatorSet([(key, 1) for key in (ME, B, C, D)])
VALIDATORS = {1: B, 2: C, 3: D}


class Peers:
    """Links 1 to 3 answer what they are told to; None is no answer."""

    def __init__(self, answers: dict[int, SignedPlace | bytes | None]) -> None:
        self._answers = answers
        self.faults: list[int] = []

    def broadcast(self, kind: Kind, message: bytes) -> None: ...

    def send(self, link: int, kind: Kind, message: bytes) -> bool:
        return True

    def link_of(self, validator: bytes) -> int | None:
        return None

    def validator_of(self, link: int) -> bytes | None:
        return VALIDATORS.get(link)

    def links(self) -> list[int]:
        return list(self._answers)

    async def ask(self, link: int, wanted: Wanted, deadline_s: float) -> bytes | None:
        await trio.sleep(0.01)
        answer = self._answers[link]
        return msgspec.msgpack.encode(answer) if isinstance(answer, SignedPlace) else answer

    def fault(self, link: int, reason: str) -> None:
        self.faults.append(link)


async def check(peers: Peers, guard: Guard, validators: ValidatorSet = FOUR) -> tuple[str, float]:
    start = trio.current_time()
    reason = await find_twin(peers, ME, guard, validators, peers.validator_of, wait_s=1.0)
    return reason, trio.current_time() - start


SIGNED = Guard(height=9, round=1, step=Step.PRECOMMIT, signed=(b"x",))
AS_I_KNOW = SignedPlace(9, 1, 3, False)


async def test_a_quorum_that_knows_of_nothing_more_lets_us_vote_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    reason, took_s = await check(Peers({1: AS_I_KNOW, 2: SignedPlace(0, 0, 0, False)}), SIGNED)
    assert reason == ""
    assert took_s < 0.1


async def test_who_hears_nothing_waits_for_the_deadline_and_votes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    reason, took_s = await check(Peers({1: None}), SIGNED)
    assert reason == ""
    assert 0.99 < took_s < 1.1


async def test_a_signature_beyond_our_guard_keeps_us_silent(autojump_clock: trio.testing.MockClock) -> None:
    reason, _ = await check(Peers({1: SignedPlace(10, 0, 2, False)}), SIGNED)
    assert "height 10" in reason
    reason, _ = await check(Peers({1: SignedPlace(1, 0, 1, False)}), Guard())
    assert "remembers" in reason


async def test_a_live_session_of_our_key_keeps_us_silent(autojump_clock: trio.testing.MockClock) -> None:
    reason, _ = await check(Peers({1: SignedPlace(9, 1, 3, True)}), SIGNED)
    assert "another node" in reason


async def test_an_answer_that_is_none_is_a_fault_and_no_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = Peers({1: b"\xc1", 2: None})
    reason, took_s = await check(peers, SIGNED)
    assert (reason, peers.faults) == ("", [1])
    assert took_s > 0.9


async def test_a_network_of_one_asks_nobody(autojump_clock: trio.testing.MockClock) -> None:
    assert await check(Peers({}), Guard(), ValidatorSet([(ME, 1)])) == ("", 0.0)
