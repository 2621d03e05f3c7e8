"""Asks peers, before the first vote, whether our validator key signs elsewhere (PROTOCOL, Twin).

A quorum's answers or a deadline end the wait. Above our own guard, or a live session that we did not make:
this node does not vote and says so. A twin behind a partition is caught by evidence alone.
"""

from collections.abc import Callable

import structlog
import trio

from consensus.guard import Guard
from consensus.quorum import is_quorum
from consensus.validators import ValidatorSet
from prsm_node.consensus_host.answers import decode_place
from prsm_node.consensus_host.outbox import Outbox
from prsm_node.wire.payloads import UNREADABLE, SignedWanted

log = structlog.get_logger("twin")

ASK_AGAIN_S = 0.1
ANSWER_S = 1.0


async def find_twin(
    outbox: Outbox,
    me: bytes,
    guard: Guard,
    validators: ValidatorSet,
    validator_of: Callable[[int], bytes | None],
    wait_s: float,
) -> str:
    """Return why this node must not vote, in one sentence, or "" after a quorum's answers or `wait_s`."""
    own = (guard.height, guard.round, int(guard.step)) if guard.signed else (guard.height, 0, 0)
    answered: set[bytes] = {me}
    asked: set[int] = set()
    reasons: list[str] = []
    done = trio.Event()

    async def ask(link: int) -> None:
        answer = await outbox.ask(link, SignedWanted(me), ANSWER_S)
        if answer is None:
            asked.discard(link)
            return
        try:
            place = decode_place(answer)
        except UNREADABLE as error:
            outbox.fault(link, f"answer to SignedWanted: {error}")
            return
        if (place.height, place.round, place.step) > own:
            reasons.append(
                f"this validator key signed at height {place.height}, round {place.round}, beyond what this "
                f"node remembers ({own[0]}, {own[1]}); end the other node with this key, or restore this "
                f"node's data folder"
            )
        elif place.elsewhere:
            reasons.append(
                "another node that is running has this validator key; end one of the two, then start the "
                "other again"
            )
        answered.add(validator_of(link) or b"")
        if reasons or is_quorum(sum(map(validators.power, answered)), validators.total):
            done.set()

    if is_quorum(validators.power(me), validators.total):
        return ""
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(wait_s):
            while not done.is_set():
                for link in outbox.links():
                    if link not in asked and validators.power(validator_of(link) or b"") > 0:
                        asked.add(link)
                        nursery.start_soon(ask, link)
                with trio.move_on_after(ASK_AGAIN_S):
                    await done.wait()
        nursery.cancel_scope.cancel()
    log.info("twin_check", answered=len(answered) - 1, twin=bool(reasons))
    return reasons[0] if reasons else ""
