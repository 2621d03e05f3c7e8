"""Votes whose signatures nobody has checked yet (PROTOCOL, Agreement 4).

Checking a signature costs more than all else that is done with a vote, and a batch of checks a third of as
many single ones. So votes wait here until, together with the counted ones, they could complete a quorum or
the third that line 55 and Agreement 3 ask for; then they are given out together. A small set works alike.

An unchecked vote proves nothing about its voter: it is held by (link, voter), so that who forges votes of
others pushes out only what its own link brought.
"""

from collections.abc import Iterable

from consensus.agreement.height import Height
from consensus.evidence import is_equivocation
from consensus.inputs import Link
from consensus.quorum import is_quorum, is_third
from consensus.votes import NIL, Vote, VoteKind

# 256 validators x 2 kinds x 2 rounds, for each link; the link's oldest goes first. A lost vote is sent again.
LINK_VOTES_MAX = 1_024
# Links whose votes are held. A flood of links pushes out the newest, which are its own.
LINKS_MAX = 256
# Of one (link, voter): 2 kinds in the current round and in its highest.
VOTER_VOTES_MAX = 4
# Votes given out and not counted since are forged or under check: so many are remembered, not to be checked
# twice.
GIVEN_MAX = 4_096

Slot = tuple[Link, bytes, int, VoteKind]
"""(link, voter, round, kind)."""


class UncheckedVotes:
    """The unchecked votes of one height."""

    def __init__(self) -> None:
        self._held: dict[Link, dict[Slot, Vote]] = {}
        self._groups: dict[tuple[int, VoteKind], dict[Slot, Vote]] = {}
        self._given: dict[Vote, None] = {}
        self._added = 0
        self._asked: tuple[int, bool, int, int] | None = None

    def __len__(self) -> int:
        return sum(len(held) for held in self._held.values())

    def add(self, link: Link, vote: Vote, height: Height) -> tuple[Vote, ...]:
        """Hold a vote of this height, then return the votes to check now, each once. Raises nothing."""
        keeper = height.keeper
        if vote in self._given or keeper.validators.power(vote.voter) == 0:
            return ()
        counted = keeper.counted(vote)
        if counted is not None:
            return self._give({vote: None}) if keeper.would_convict(vote) else ()
        rivals = self._rivals(vote)
        if rivals and not keeper.is_convicted(vote.voter):
            return self._give(rivals | {vote: None})
        held = self._held.setdefault(link, {})
        if len(self._held) > LINKS_MAX:
            newest = max(other for other in self._held if other != link)
            for dropped in list(self._held[newest]):
                self._drop(dropped)
            del self._held[newest]
        slot = (link, vote.voter, vote.round, vote.kind)
        if slot in held:
            return ()
        of_voter = [other for other in held if other[1] == vote.voter]
        if len(of_voter) >= VOTER_VOTES_MAX:
            # The least useful goes: the lowest round that is not the current one.
            self._drop(min(of_voter, key=lambda s: (s[2] == height.round, s[2], s[3])))
        if len(held) >= LINK_VOTES_MAX:
            self._drop(next(iter(held)))
        held[slot] = vote
        self._added += 1
        self._groups.setdefault((vote.round, vote.kind), {})[slot] = vote
        return self.due(height)

    def due(self, height: Height) -> tuple[Vote, ...]:
        """Return the votes that could matter now: to be asked again after any step, which mostly changed
        nothing here."""
        asked = (height.round, height.awake, height.keeper.changes, self._added)
        if asked == self._asked:
            return ()
        self._asked = asked
        due: dict[Vote, None] = {}
        for (round_, kind), group in self._groups.items():
            if round_ == height.round or (round_ < height.round and kind is VoteKind.PRECOMMIT):
                due |= dict.fromkeys(self._toward_a_quorum(round_, kind, group.values(), height))
        due |= dict.fromkeys(self._toward_a_third(height))
        return self._give(due)

    def _rivals(self, vote: Vote) -> dict[Vote, None]:
        """Return the held votes that convict this one's voter, or a bringer of forged ones, whatever they are
        for."""
        group = self._groups.get((vote.round, vote.kind), {})
        return dict.fromkeys(other for other in group.values() if is_equivocation(other, vote))

    def _give(self, due: dict[Vote, None]) -> tuple[Vote, ...]:
        """Give votes out to be checked, once."""
        if not due:
            return ()
        for slot in [s for group in self._groups.values() for s, vote in group.items() if vote in due]:
            self._drop(slot)
        for vote in due:
            self._given[vote] = None
        while len(self._given) > GIVEN_MAX:
            del self._given[next(iter(self._given))]
        return tuple(due)

    def precommits_for(self, round_: int, value: bytes) -> tuple[Vote, ...]:
        """Return the held precommits for what was decided: checked, they strengthen it (Agreement 7)."""
        group = self._groups.get((round_, VoteKind.PRECOMMIT), {})
        return tuple(dict.fromkeys(vote for vote in group.values() if vote.value == value))

    def _toward_a_quorum(
        self, round_: int, kind: VoteKind, held: Iterable[Vote], height: Height
    ) -> Iterable[Vote]:
        keeper, total = height.keeper, height.validators.total
        tally = keeper.tally(round_, kind)
        fresh = [vote for vote in held if vote.voter not in tally.votes]
        if not fresh:
            return ()
        # Our own vote may be on its way to the disk; it will count without a further arrival.
        me = height.me
        own = height.validators.power(me) if me is not None and me not in tally.votes else 0
        if not is_quorum(tally.weight, total) and is_quorum(
            tally.weight + own + self._power(fresh, height), total
        ):
            return fresh
        due: list[Vote] = []
        for value in dict.fromkeys(vote.value for vote in fresh):
            if value is NIL and kind is VoteKind.PRECOMMIT:
                continue  # no rule asks for it
            alike = [vote for vote in fresh if vote.value == value]
            aside = sum(height.validators.power(v.voter) for v in tally.aside if v.value == value)
            counted = tally.weights.get(value, 0)
            enough = is_quorum(counted + aside + own + self._power(alike, height), total)
            if enough and not is_quorum(counted, total):
                due += alike
        return due

    def _toward_a_third(self, height: Height) -> Iterable[Vote]:
        """Votes that could show a third to be in a later round (line 55), or at this height at all
        (Agreement 3)."""
        keeper, total, current = height.keeper, height.validators.total, height.round
        later = [v for (r, _), g in self._groups.items() if r > current for v in g.values()]
        if later:
            ahead = {voter for voter, reached in keeper.reached() if reached > current}
            fresh = [vote for vote in later if vote.voter not in ahead]
            power = sum(height.validators.power(voter) for voter in ahead)
            if fresh and is_third(power + self._power(fresh, height), total):
                return fresh
        if not height.awake and not height.third_voted():
            known = {voter for voter, _ in keeper.reached()}
            fresh = [v for g in self._groups.values() for v in g.values() if v.voter not in known]
            if fresh and is_third(keeper.heard() + self._power(fresh, height), total):
                return fresh
        return ()

    def _power(self, votes: Iterable[Vote], height: Height) -> int:
        return sum(height.validators.power(voter) for voter in {vote.voter for vote in votes})

    def _drop(self, slot: Slot) -> None:
        del self._held[slot[0]][slot]
        group = self._groups[slot[2], slot[3]]
        del group[slot]
        if not group:
            del self._groups[slot[2], slot[3]]
