"""Asks peers, before the first vote, whether our validator key signs elsewhere (PROTOCOL, Twin).

A quorum's answers or a deadline end the wait; a quorum's answers alone where this home never signed, which
is also how a lost disk looks, and no chain goes on without a quorum anyway. Above our own guard, or a live
session that we did not make: this node does not vote and says so. What keeps us silent is proven: the signed
message, or a signature over our challenge. Unproven reports of a session count together, from more than a
third of power.

Of two nodes with one key that meet before either voted, neither votes: a rule that picks one is safe only
while each knows that the other yields, which no message can make sure of. Who was kept out by a session alone
asks on, and votes once a quorum sees the other gone and nothing beyond its guard was signed meanwhile. What
was signed beyond it stays signed: such a node stays out until its operator acts. A twin behind a partition is
caught by evidence alone.

A lost disk is found out where one who answers saw the key sign within 64 heights of the open one, before its
own restarts too: of each key all keep a vote on the disk (seen_signers.py). Unknown stays only what was
signed in the last moment before all who heard it ended.

The same peers are asked for the last batch of our lane (PROTOCOL, Lanes 6), since an author that forgot one
would sign another in its place: nothing is sealed while this goes on, and one beyond what we know is silence.

A session is known by its node's key: it lies in the home and outlives a run, and the home's lock lets one
daemon use it, so that a session id made durable would say no more. Neither tells a home that was copied
whole, node key and all, from its original: only what each signed does.
"""

from collections.abc import Callable

import msgspec
import structlog
import trio

from consensus.blocks import Proposal
from consensus.guard import Guard
from consensus.quorum import is_quorum, is_third
from consensus.validators import ValidatorSet
from consensus.votes import Vote
from prsm_node.consensus_host.checks import Checks, signed_place
from prsm_node.consensus_host.outbox import Outbox
from prsm_node.consensus_host.sessions import ProvenSession, decode_authored, decode_session, decode_signed
from prsm_node.unreadable import UNREADABLE
from prsm_node.wire.payloads import (
    SequenceWanted,
    SessionWanted,
    SignedWanted,
    session_signed_bytes,
)

log = structlog.get_logger("twin")

ASK_AGAIN_S = 0.1
ANSWER_S = 1.0
RECHECK_S = 2.0
"""Between two checks while a session of our key lives elsewhere. Asked and not told: its end is an absence,
for which a quorum has to answer challenges of ours. A notice of a peer's proves none, could only say when to
ask, and would leave us silent for ever where it is lost or a liar's to send."""
CLEAR_RECHECKS = 2
"""In a row, before a node that was kept out votes: a link of the other that flaps is no end of it."""

ELSEWHERE = (
    "another node that is running has this validator key; end one of the two, then the one that is left "
    "votes by itself, unless it lacks what the other signed"
)
UNANSWERED = "this validator key ran on another node, and no quorum of validators has said yet that it ended"
NEVER_SIGNED = (
    "this home never signed with its validator key, and no quorum of validators has said yet that nobody did"
)


class Silence(msgspec.Struct, frozen=True):
    """Why a node must not vote, in one sentence, and whether that can pass without its operator."""

    reason: str
    passes: bool


class TwinCheck:
    """The questions of one validator.

    Args:
        authored: the last sequence of its own lane that this node knows.
        entropy: makes a challenge for each peer and check.
    """

    def __init__(
        self,
        *,
        network: bytes,
        node_key: bytes,
        me: bytes,
        guard: Guard,
        checks: Checks,
        outbox: Outbox,
        validators: Callable[[], ValidatorSet],
        authored: Callable[[], int],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._network = network
        self._node_key = node_key
        self._me = me
        self._signed_before = guard.height > 0
        self._own = (guard.height, guard.round, int(guard.step)) if guard.signed else (guard.height, 0, 0)
        self._checks = checks
        self._outbox = outbox
        self._validators = validators
        self._authored = authored
        self._entropy = entropy

    async def until_alone(self, wait_s: float, silent: Callable[[str], None]) -> str:
        """Return "" when this node may vote, or why it never may; tell `silent` each reason to wait on.

        The first check ends after `wait_s` at the latest, if this home signed before. Once a twin was met
        only a quorum's answers do.
        """
        told = ""
        silence = await self.check(wait_s, quorum_only=not self._signed_before)
        while silence is not None and silence.reason == NEVER_SIGNED:
            if not told:
                silent(told := NEVER_SIGNED)
            silence = await self.check(RECHECK_S, quorum_only=True)
        if silence is None:
            return ""
        clear = 0
        while clear < CLEAR_RECHECKS:
            if silence is not None:
                if not silence.passes:
                    return silence.reason
                clear = 0
                if silence.reason != told:
                    told = silence.reason
                    silent(told)
            await trio.sleep(RECHECK_S)
            silence = await self.check(wait_s, quorum_only=True)
            clear += silence is None
        log.info("twin_gone")
        return ""

    async def check(self, wait_s: float, *, quorum_only: bool = False) -> Silence | None:
        """Return why this node must not vote, or None after a quorum's answers or, unless `quorum_only`,
        `wait_s`."""
        validators = self._validators()
        if is_quorum(validators.power(self._me), validators.total):
            return None
        heard = self._checks.signed.get(self._me)
        found = self._judge(heard) if heard is not None else None
        if found is not None:
            return found
        asking = _Asking(self, validators)
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(wait_s):
                await asking.run(nursery)
            nursery.cancel_scope.cancel()
        found = asking.silence
        if found is None and quorum_only and not asking.quorum():
            found = Silence(UNANSWERED if self._signed_before else NEVER_SIGNED, passes=True)
        if found is None or not quorum_only:
            log.info("twin_check", answered=len(asking.answered) - 1, twin=found is not None)
        return found

    def beyond(self, answer: bytes) -> Silence | None:
        """Judge an answer to SignedWanted. Raise ValueError or one of UNREADABLE where it proves nothing."""
        seen = decode_signed(answer)
        message = seen.vote or seen.proposal
        if message is None:
            return None
        if seen.vote is not None and (seen.vote.voter != self._me or self._checks.vote(seen.vote) is None):
            raise ValueError("a vote that this key did not sign")
        if seen.proposal is not None and (
            seen.proposal.proposer != self._me or not self._checks.signs(seen.proposal)
        ):
            raise ValueError("a proposal that this key did not sign")
        return self._judge(message)

    def _judge(self, message: Vote | Proposal) -> Silence | None:
        place = signed_place(message)
        if place <= self._own:
            return None
        return Silence(
            f"this validator key signed at height {place[0]}, round {place[1]}, beyond what this node "
            f"remembers ({self._own[0]}, {self._own[1]}); end the other node with this key, or restore this "
            f"node's data folder",
            passes=False,
        )

    def authored_beyond(self, answer: bytes) -> Silence | None:
        """Judge an answer to SequenceWanted (Lanes 6). Raise as beyond() does."""
        header = decode_authored(answer)
        if header is None:
            return None
        if header.author != self._me or not self._checks.batch(header):
            raise ValueError("a batch that this key did not sign")
        if header.sequence <= self._authored():
            return None
        return Silence(
            f"this validator key authored batch {header.sequence} of its lane, beyond the {self._authored()} "
            f"that this node remembers; end the other node with this key, or restore this node's data folder",
            passes=False,
        )

    def proves(self, proof: ProvenSession, challenge: bytes) -> bool:
        """Whether a session of our key, not this node's, signed our challenge. Raise ValueError if forged."""
        content = session_signed_bytes(self._network, proof.node_key, proof.session, challenge)
        if not self._checks.signature(self._me, proof.signature, content):
            raise ValueError("a session that this key did not sign")
        return proof.node_key != self._node_key

    def challenge(self) -> bytes:
        return self._entropy(32)

    @property
    def me(self) -> bytes:
        return self._me

    @property
    def outbox(self) -> Outbox:
        return self._outbox


class _Asking:
    """One check under way: who answered, and what was found."""

    def __init__(self, check: TwinCheck, validators: ValidatorSet) -> None:
        self._check = check
        self._outbox = check.outbox
        self._validators = validators
        self.answered: set[bytes] = {check.me}
        self.silence: Silence | None = None
        self._reporting: set[bytes] = set()
        self._done = trio.Event()

    def quorum(self) -> bool:
        power = sum(map(self._validators.power, self.answered))
        return is_quorum(power, self._validators.total)

    async def run(self, nursery: trio.Nursery) -> None:
        asked: set[int] = set()
        while not self._done.is_set():
            for link in self._outbox.links():
                validator = self._outbox.validator_of(link) or b""
                if validator == self._check.me:
                    # The greeting proved it over this link's own challenge.
                    self._found(Silence(ELSEWHERE, passes=True))
                elif link not in asked and self._validators.power(validator) > 0:
                    asked.add(link)
                    nursery.start_soon(self._ask, link, validator, asked)
            with trio.move_on_after(ASK_AGAIN_S):
                await self._done.wait()

    async def _ask(self, link: int, validator: bytes, asked: set[int]) -> None:
        challenge = self._check.challenge()
        signed = await self._outbox.ask(link, SignedWanted(self._check.me), ANSWER_S)
        session = await self._outbox.ask(link, SessionWanted(self._check.me, challenge), ANSWER_S)
        authored = await self._outbox.ask(link, SequenceWanted(self._check.me), ANSWER_S)
        if signed is None or session is None or authored is None:
            asked.discard(link)
            return
        try:
            beyond = self._check.beyond(signed) or self._check.authored_beyond(authored)
            seen = decode_session(session)
            live = seen.proof is not None and self._check.proves(seen.proof, challenge)
        except (ValueError, *UNREADABLE) as error:
            self._outbox.fault(link, f"twin check: {error}")
            return
        self.answered.add(validator)
        if beyond is not None:
            self._found(beyond)
        if live:
            self._found(Silence(ELSEWHERE, passes=True))
        elif seen.live and seen.proof is None:
            self._reporting.add(validator)
            if is_third(sum(map(self._validators.power, self._reporting)), self._validators.total):
                self._found(Silence(ELSEWHERE, passes=True))
        if self.quorum():
            self._done.set()

    def _found(self, silence: Silence) -> None:
        """What was signed outweighs a session: it does not pass."""
        if self.silence is None or self.silence.passes:
            self.silence = silence
        self._done.set()
