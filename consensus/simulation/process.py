"""A validator's process: what its disk keeps, and its lives, each from a start to the crash that ends it.

The replica is real. A crash takes it and what was not synced; a restart gets what the disk kept. What effects
do is validator.py's.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from consensus import effects as fx
from consensus import inputs as happened
from consensus.agreement.own_votes import diverged_after
from consensus.blocks import Block, CheckedProposal, block_digest
from consensus.certificates import CheckedCertificate
from consensus.dissemination.acknowledgements import CheckedAcknowledgement
from consensus.dissemination.batches import CheckedBatch
from consensus.guard import Guard
from consensus.inputs import Input
from consensus.replica import Replica
from consensus.simulation.disk import Disk
from consensus.simulation.violation import Violation
from consensus.timers import Timer
from consensus.votes import CheckedVote, Vote

if TYPE_CHECKING:
    from consensus.simulation.cluster import Cluster

HEARD_MAX = 8
"""Proposals that a process remembers besides those it voted for: the daemon's proposal_store.HEARD_MAX."""


class Crashed(Exception):
    """The process ended between two effects."""


class Process:
    """Args:
    number: its place among the cluster's processes; to all others it is link `number + 1`.
    """

    honest = True
    perform: ClassVar[Mapping[type[fx.Effect], Callable[[Any, Any], None]]]

    def __init__(self, cluster: "Cluster", number: int, key: bytes, name: str) -> None:
        self.cluster, self.number, self.key, self.name = cluster, number, key, name
        self.link = number + 1
        self.disk = Disk(number, cluster.chance, cluster.at)
        self.up = False
        self.life = 0
        self.clock_off_ms = 0
        self.crash_after: int | None = None
        """Effects until this process ends by itself."""
        self.seen: Counter[str] = Counter()
        # Durable:
        self.guard = Guard()
        self.guard_messages: tuple[CheckedVote | CheckedProposal, ...] = ()
        self.kept_blocks: list[tuple[Block, CheckedCertificate]] = []
        self.kept_proposals: list[CheckedProposal] = []
        self.batches: dict[bytes, CheckedBatch] = {}
        self.acknowledged: dict[bytes, CheckedAcknowledgement] = {}
        self.forget()

    def forget(self) -> None:
        """Begin with what the disk kept."""
        self.blocks = list(self.kept_blocks)
        self._timers: dict[Timer, int] = {}
        height = len(self.blocks) + 1
        self.kept_proposals = [kept for kept in self.kept_proposals if kept.height >= height]
        self.proposals = {block_digest(kept.block): kept for kept in self.kept_proposals}
        """What it can give: proposals that it voted for, and the last few that it heard."""
        self._voted = set(self.proposals)
        self._last_heard: dict[bytes, None] = {}
        self._count = 0

    def hear_proposal(self, proposal: CheckedProposal) -> None:
        """Remember one of the last few. What is only heard costs the disk nothing."""
        value = block_digest(proposal.block)
        self.proposals.setdefault(value, proposal)
        self._last_heard.setdefault(value)
        if len(self._last_heard) > HEARD_MAX:
            oldest = next(iter(self._last_heard))
            del self._last_heard[oldest]
            if oldest not in self._voted:
                self.proposals.pop(oldest, None)

    def keep_proposal(self, proposal: CheckedProposal) -> None:
        """Queue it for the disk: a vote for it, written later, is durable no sooner. A polka is worth little
        when all who have its block end and forget it."""
        value = block_digest(proposal.block)
        if value in self._voted:
            return
        self._voted.add(value)
        self.proposals[value] = proposal
        self.disk.write(lambda: self.kept_proposals.append(proposal), lambda: None)

    def start(self) -> None:
        """Begin a life: the replica takes back what a journal holds, and may sign at once."""
        self.forget()
        cluster = self.cluster
        start = cluster.execution.start_above([block for block, _ in self.blocks], cluster.start_ms - 1)
        guard = self.guard
        if 0 < guard.height <= start.height:
            decided = block_digest(self.blocks[guard.height - 1][0])
            guard = Guard(height=guard.height, diverged=diverged_after(guard, guard.height, decided))
        self.replica = Replica(self.key, cluster.rules, start, guard)
        for digest, batch in sorted(self.batches.items(), key=lambda item: (item[1].sequence, item[0])):
            self.replica.lanes.restore_batch(batch, self.acknowledged.get(digest))
        self.up = True
        self.life += 1
        cluster.record("start", self, f"height {start.height}")
        self.feed(happened.Started())
        for proposal in list(self.kept_proposals):
            self.feed(happened.ProposalReceived(0, proposal))
        votes = [message for message in self.guard_messages if isinstance(message, Vote)]
        for vote in votes if self.replica.suffices_alone() else ():
            if vote.height == self.replica.height.height:
                self.feed(happened.VoteCast(vote))
        self.feed(happened.VotingAllowed())

    def crash(self) -> None:
        """End now; whatever was not synced may be lost."""
        self.up = False
        self.crash_after = None
        lost = self.disk.crash()
        self.cluster.record("crash", self, f"{lost} writes lost")

    def feed(self, what: Input) -> None:
        """Let the replica take a step, and do what it asks for."""
        if not self.up:
            return
        try:
            for effect in self.replica.step(what, self.cluster.now_ms + self.clock_off_ms):
                if self.crash_after is not None:
                    self.crash_after -= 1
                    if self.crash_after < 0:
                        raise Crashed
                kind = type(effect)
                self.seen[kind.__name__] += 1
                self.perform[kind](self, effect)
                if not self.up:
                    return  # an answer within the effect came to the crash
        except Crashed:
            if self.up:
                self.crash()
        except Violation:
            raise
        except Exception as error:
            if self.honest and self.cluster.invariants.bounded:
                raise Violation("an honest validator lives", f"{self.name}: {error!r}") from error
            self.crash()

    def later(self, delay_ms: float, act: Callable[[], None]) -> None:
        """Do this unless the process ends before."""
        life = self.life
        self.cluster.at(delay_ms, lambda: act() if self.life == life and self.up else None)

    def set_timer(self, effect: fx.SetTimer) -> None:
        self._count += 1
        mark = self._timers[effect.timer] = self._count

        def expired() -> None:
            if self._timers.get(effect.timer) == mark:
                del self._timers[effect.timer]
                self.feed(happened.TimerExpired(effect.timer))

        self.later(effect.delay_ms, expired)
