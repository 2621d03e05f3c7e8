"""What can be asked over the control socket: `handlers(node)` makes the table that server.py serves."""

from collections.abc import Callable

import msgspec
import trio

from prsm_node.control.following import following
from prsm_node.control.node import NodeView
from prsm_node.control.params import (
    AtHeight,
    AwaitedSubmission,
    ByHash,
    Nothing,
    OfAddress,
    OfBanned,
    PageOfHistory,
    Submission,
)
from prsm_node.control.protocol import ControlError
from prsm_node.control.server import Emit, Handlers, Method
from prsm_node.control.submitting import Submitting


def handlers(node: NodeView) -> Handlers:
    """Make the table of methods; call it once a node, whose final blocks it hears."""
    look_ups, submitting = _LookUps(node), Submitting(node)

    async def unban(params: OfBanned, emit: Emit) -> object:
        if not node.unban(params.who):
            raise ControlError("not_found", f"{params.who} is not banned; `peers --banned` lists who is")
        return None

    async def invite(_: Nothing, emit: Emit) -> object:
        return await node.invite()

    return {
        "status": _told(node.status),
        "peers": _told(node.peers),
        "bans": _told(node.bans),
        "unban": Method(OfBanned, unban),
        "validators": _told(node.validators),
        "evidence": _told(node.evidence),
        "network": _told(node.network),
        "counters": _told(node.counters),
        "block": Method(AtHeight, look_ups.block),
        "tx": Method(ByHash, look_ups.tx),
        "account": Method(OfAddress, look_ups.account),
        "account_proof": Method(OfAddress, look_ups.account_proof),
        "history": Method(PageOfHistory, look_ups.history),
        "submit": Method(Submission, submitting.submit),
        "submit_and_wait": Method(AwaitedSubmission, submitting.submit_and_wait),
        "follow": following(node),
        "invite": Method(Nothing, invite),
        "stop": _told(node.stop),
    }


def _told(ask: Callable[[], object]) -> Method:
    """A method that takes nothing and answers at once."""

    async def call(_: Nothing, emit: Emit) -> object:
        return ask()

    return Method(Nothing, call)


class _LookUps:
    """What the chain holds; what it does not is refused with what the node has instead."""

    def __init__(self, node: NodeView) -> None:
        self._node = node

    async def block(self, params: AtHeight, emit: Emit) -> object:
        found = await self._node.block(params.height)
        if found is None:
            status = self._node.status()
            if 0 < params.height < status.first_block:
                raise ControlError(
                    "pruned",
                    f"block {params.height} is not kept: this node keeps blocks from height "
                    f"{status.first_block} on",
                )
            raise ControlError(
                "not_found", f"no block at height {params.height}; the last one is {status.height}"
            )
        return found

    async def tx(self, params: ByHash, emit: Emit) -> object:
        found = await self._node.transaction(params.hash)
        if found is None:
            first = self._node.status().first_block
            kept = f"; this node keeps blocks from height {first} on" if first > 1 else ""
            raise ControlError(
                "not_found",
                f"no transaction {params.hash.hex()} is known here{kept}; ask the node it was sent to",
            )
        return found

    async def account(self, params: OfAddress, emit: Emit) -> object:
        return await self._node.account(params.address)

    async def account_proof(self, params: OfAddress, emit: Emit) -> object:
        try:
            proof = await self._node.account_proof(params.address)
        except trio.TooSlowError:
            raise ControlError(
                "timed_out", "no decided block names the root of this state yet; try again when blocks come"
            ) from None
        if proof is None:
            raise ControlError("not_found", "there is no such account, and absence has no proof")
        # Up to 255 changes of up to 60 KB: one message holds some twenty, so each is an event of its own.
        for change in proof.changes:
            await emit(change)
        return msgspec.structs.replace(proof, changes=())

    async def history(self, params: PageOfHistory, emit: Emit) -> object:
        return await self._node.history(params.address, params.limit, params.before)
