"""What a validator asks others for: again and again, until it is there or not wanted any more.

A double of the daemon's fetcher and of its sync: who has a thing and answers sends it over the network.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from consensus import effects as fx
from consensus import inputs as happened
from consensus.inputs import Input

if TYPE_CHECKING:
    from consensus.simulation.validator import Validator

AGAIN_MS = 500
LOOK_AROUND_MS = 1_000
"""How often sync compares its height with those that peers tell."""
BLOCKS_AT_ONCE = 16


class Fetching:
    """What one life of a process asks for."""

    def __init__(self, owner: "Validator") -> None:
        self._owner = owner
        self._asking: dict[tuple[object, ...], None] = {}

    def _fetch(
        self, key: tuple[object, ...], wanted: Callable[[], bool], find: Callable[["Validator"], Input | None]
    ) -> None:
        if key in self._asking:
            return
        self._asking[key] = None
        owner = self._owner

        def ask() -> None:
            if not wanted():
                del self._asking[key]
                return
            for peer in owner.cluster.all:
                if peer is not owner and peer.up and peer.answers:
                    found = find(peer)
                    if found is not None:
                        owner.cluster.send(peer, owner, found)
            owner.later(AGAIN_MS, ask)

        ask()

    def batch(self, effect: fx.FetchBatch) -> None:
        replica = self._owner.replica
        lane = replica.lanes.lane(effect.author)
        above = lane.committed.sequence if lane is not None else 0

        def wanted() -> bool:
            now = replica.lanes.lane(effect.author)
            return now is not None and now.committed.sequence == above and effect.digest not in now.batches

        def find(peer: "Validator") -> Input | None:
            batch = peer.batches.get(effect.digest)
            return happened.BatchReceived(peer.link, batch) if batch is not None else None

        self._fetch((effect.author, effect.digest), wanted, find)

    def tip_certificate(self, effect: fx.FetchTipCertificate) -> None:
        replica = self._owner.replica
        height = replica.height.height

        def wanted() -> bool:
            lane = replica.lanes.lane(effect.author)
            lacking = lane is not None and effect.sequence not in lane.certificates
            return lacking and replica.height.height == height

        def find(peer: "Validator") -> Input | None:
            lane = peer.replica.lanes.lane(effect.author)
            found = lane.certificates.get(effect.sequence) if lane is not None else None
            return happened.TipCertificateReceived(peer.link, found) if found is not None else None

        self._fetch((effect.author, effect.sequence), wanted, find)

    def block(self, effect: fx.FetchBlock) -> None:
        owner = self._owner

        def wanted() -> bool:
            return owner.replica.height.height == effect.height and effect.value not in owner.proposals

        def find(peer: "Validator") -> Input | None:
            if effect.height <= len(peer.blocks):
                return happened.BlockReceived(peer.link, *peer.blocks[effect.height - 1])
            proposal = peer.proposals.get(effect.value)
            return happened.ProposalReceived(peer.link, proposal) if proposal is not None else None

        self._fetch((effect.height, effect.value), wanted, find)

    def look_around(self) -> None:
        """Who does not vote gets no answer to its votes: a follower finds out by asking that it lags."""
        owner = self._owner
        others = (p for p in owner.cluster.all if p.up and p.answers)
        best = max(others, key=lambda p: len(p.blocks), default=owner)
        if len(best.blocks) > len(owner.blocks):
            self.catch_up(fx.CatchUp(len(best.blocks) + 1, best.link))
        owner.later(LOOK_AROUND_MS, self.look_around)

    def catch_up(self, effect: fx.CatchUp) -> None:
        """Sync: blocks in order from one who has them, until level with `height`."""
        owner, turn = self._owner, 0

        def ask() -> None:
            nonlocal turn
            if len(owner.blocks) >= effect.height - 1:
                self._asking.pop(("sync",), None)
                return
            ahead = [p for p in owner.cluster.all if p is not owner and p.up and p.answers]
            ahead = [p for p in ahead if len(p.blocks) > len(owner.blocks)]
            if ahead:
                peer = ahead[(effect.link + turn) % len(ahead)]
                turn += 1
                first = len(owner.blocks)
                for height in range(first, min(len(peer.blocks), first + BLOCKS_AT_ONCE)):
                    found = happened.BlockReceived(peer.link, *peer.blocks[height])
                    owner.cluster.deliver(peer, owner, found, (height - first) / 10)
            owner.later(AGAIN_MS / 5, ask)

        if ("sync",) not in self._asking:
            self._asking["sync",] = None
            ask()
