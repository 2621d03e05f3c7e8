"""How a transaction reaches the lane that carries it: over the link to its author, or else by gossip."""

from typing import Annotated

import msgspec

from prsm_node.ledger.transactions import TRANSACTION_BYTES_MAX
from prsm_node.mempool.intake import Intake
from prsm_node.network.gossip import Gossiper
from prsm_node.network.link import Link
from prsm_node.network.links import Links
from prsm_node.peer_outbox import PeerOutbox
from prsm_node.unreadable import UNREADABLE
from prsm_node.wire.kinds import Kind

TRANSACTIONS = 1
"""The gossip topic of transactions on their way to a lane that their node has no link to."""
_raws = msgspec.msgpack.Decoder(list[Annotated[bytes, msgspec.Meta(max_length=TRANSACTION_BYTES_MAX)]])


class TransactionRoutes:
    """Subscribes to the topic; `intake` takes what comes by it."""

    def __init__(self, outbox: PeerOutbox, gossip: Gossiper) -> None:
        self._outbox = outbox
        self._gossip = gossip

    def take_with(self, intake: Intake, links: Links) -> None:
        """Give `intake` what others send to this node's lane, and what they gossip."""

        def handed(link: Link, raws: list[bytes], _: list[bytes]) -> None:
            intake.take(link.number, raws, by=link.validator)

        def gossiped(link: Link, body: bytes) -> bool | None:
            """Take transactions whose lane's author their node has no link to. They go on once they are
            admitted here: who hands on a forged one answers for it."""
            try:
                raws = _raws.decode(body)
            except UNREADABLE:
                return False
            intake.take(
                link.number,
                raws,
                lambda: self._gossip.hand_on(TRANSACTIONS, body, link),
                lambda: self._gossip.forget(TRANSACTIONS, body),
            )
            return None

        links.handle(Kind.TRANSACTIONS, handed)
        self._gossip.subscribe(TRANSACTIONS, gossiped)

    def forward(self, author: bytes, raws: list[bytes]) -> bool:
        """Send them to the author's lane; return whether they are on their way (mempool.pool.Forward)."""
        link = self._outbox.link_of(author)
        if link is None:
            self._gossip.publish(TRANSACTIONS, msgspec.msgpack.encode(raws))
            return True
        for raw in raws:
            self._outbox.send(link, Kind.TRANSACTIONS, msgspec.msgpack.encode(raw))
        return True
