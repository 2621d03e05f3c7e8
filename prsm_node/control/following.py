"""Each block as it becomes final, to one client, for as long as it keeps up."""

import trio

from prsm_node.control.node import NodeView
from prsm_node.control.params import Nothing
from prsm_node.control.protocol import ControlError
from prsm_node.control.server import Emit, Method
from prsm_node.control.views import FinalBlock

# A follower that is 256 blocks behind lags by seconds under load and by many minutes at rest.
FOLLOWER_BLOCKS_MAX = 256
# 16,000 hashes of 34 bytes fit a message twice over.
HASHES_AN_EVENT_MAX = 16_000


def following(node: NodeView) -> Method:
    """Make the method `follow`: an event a block, or several of one height; ends in ControlError only."""

    async def follow(_: Nothing, emit: Emit) -> object:
        sender, receiver = trio.open_memory_channel[FinalBlock](FOLLOWER_BLOCKS_MAX)
        missed = 0

        def notice(block: FinalBlock) -> None:
            nonlocal missed
            try:
                sender.send_nowait(block)
            except trio.WouldBlock:
                missed += 1

        end = node.on_final(notice)
        try:
            while not missed:
                for part in _parts(await receiver.receive()):
                    await emit(part)
        finally:
            end()
        raise ControlError(
            "too_slow", f"this follower was {FOLLOWER_BLOCKS_MAX} blocks behind and missed {missed}"
        )

    return Method(Nothing, follow)


def _parts(block: FinalBlock) -> list[FinalBlock]:
    """Cut a block that is too large for one message; its parts have the same height."""
    if len(block.transactions) <= HASHES_AN_EVENT_MAX:
        return [block]
    return [
        FinalBlock(
            block.height,
            block.block_hash,
            block.time_ms,
            block.transactions[start : start + HASHES_AN_EVENT_MAX],
            block.failed if start == 0 else [],
        )
        for start in range(0, len(block.transactions), HASHES_AN_EVENT_MAX)
    ]
