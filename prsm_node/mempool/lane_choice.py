"""Which lane a sender's transactions go to: the first of its ranking whose author can be reached.

Most often all nodes see the same authors gone, and agree. Where they do not, a sender's transactions are in
two lanes, and a later nonce waits for the earlier one.
"""

from collections.abc import Callable, Sequence
from typing import Final

from consensus.dissemination.rendezvous import ranking

Powers = Sequence[tuple[bytes, int]]
"""(key, power) of the validators in force."""

# Ranking costs 5 us with four validators; active senders come again. 32,768 of them take 6 MB.
RANKS_MAX: Final = 32_768


class LaneChoice:
    """Rankings under the validators in force, and which authors are gone."""

    def __init__(self, me: bytes | None, powers: Powers, linked: Callable[[bytes], bool]) -> None:
        self.powers = powers
        self.members = frozenset(key for key, _ in powers)
        self._me = me
        self._linked = linked
        self._unlinked: frozenset[bytes] = frozenset()
        """Authors without a link as of the last look."""
        self._ranks: dict[bytes, tuple[bytes, ...]] = {}

    def follow(self, powers: Powers) -> bool:
        """Take the set in force; return whether it is another one."""
        if powers is self.powers or powers == self.powers:
            return False
        self.powers = powers
        self.members = frozenset(key for key, _ in powers)
        self._ranks.clear()
        return True

    def ranks(self, address: bytes) -> tuple[bytes, ...]:
        """Return the lanes of a sender, the first to be chosen in front."""
        found = self._ranks.get(address)
        if found is None:
            if len(self._ranks) >= RANKS_MAX:
                self._ranks.clear()
            found = self._ranks[address] = ranking(address, self.powers)
        return found

    def lane(self, ranks: Sequence[bytes], shift: int) -> tuple[int, bytes | None]:
        """Return the first lane from `shift` on whose author can be reached, with its own shift; the one at
        `shift` where none can."""
        if not ranks:
            return shift, None
        for later in range(shift, shift + len(ranks)):
            lane = ranks[later % len(ranks)]
            if lane == self._me or self._linked(lane):
                return later, lane
        return shift, ranks[shift % len(ranks)]

    def gone(self) -> frozenset[bytes]:
        """Return the authors that two looks in a row had no link to: one look is what a link takes that is
        made anew. Nobody where without them there is no quorum: then nothing is ordered, and a lane that
        comes back has its transactions still."""
        unlinked = frozenset(key for key, _ in self.powers if key != self._me and not self._linked(key))
        lasting, self._unlinked = unlinked & self._unlinked, unlinked
        power = sum(power for key, power in self.powers if key in lasting)
        return lasting if 3 * power < sum(power for _, power in self.powers) else frozenset()
