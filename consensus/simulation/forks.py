"""What is promised even where more than a third is faulty and two blocks are decided at one height.

A block whose strength is not below the faulty power is never undone (PROTOCOL, Strength), and of two
decisions at least 2Q - T of the power is provably guilty (PROTOCOL, Evidence).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import product

from consensus import quorum
from consensus.blocks import Block
from consensus.certificates import Certificate
from consensus.evidence import conflicting_certificates
from consensus.simulation.violation import Violation
from consensus.validators import ValidatorSet


class Forks:
    """Args:
    polkas: all that honest validators have at hand of a height.
    """

    def __init__(self, faulty: frozenset[bytes], polkas: Callable[[int], Iterable[Certificate]]) -> None:
        self._faulty = faulty
        self._polkas = polkas
        self._blocks: dict[bytes, Block] = {}
        self._members: dict[bytes, ValidatorSet] = {}
        self._commits: defaultdict[bytes, list[Certificate]] = defaultdict(list)
        self._decided: defaultdict[int, dict[bytes, None]] = defaultdict(dict)
        self.forked: int | None = None
        """The first height with two decisions."""

    def decided(self, digest: bytes, block: Block, certificate: Certificate, members: ValidatorSet) -> None:
        """An honest validator decides, with this certificate."""
        self._blocks[digest], self._members[digest] = block, members
        values = self._decided[block.height]
        values[digest] = None
        if len(values) > 1 and (self.forked is None or block.height < self.forked):
            self.forked = block.height
        self.known(certificate)

    def known(self, certificate: Certificate) -> None:
        """An honest validator has this certificate of a decided block."""
        commits = self._commits[certificate.value]
        if certificate in commits or certificate.value not in self._blocks:
            return
        commits.append(certificate)
        if self.forked is not None:
            self._named(self.forked, certificate)
            for value in self._decided[self.forked]:
                self._undone(self.forked, value)

    def _undone(self, height: int, value: bytes) -> None:
        """A value that was decided beside another must have been weak enough for that."""
        line = self._line_to(value)
        marks: defaultdict[int, list[Mapping[bytes, int]]] = defaultdict(list)
        for digest, commits in self._commits.items():
            block = self._blocks[digest]
            if digest in line or (block.height > height and value in self._line_to(digest)):
                marks[block.height] += [{v.voter: v.mark for v in commit.votes} for commit in commits]
        powers = {self._blocks[digest].height: self._members[digest].powers for digest in line}
        strength = quorum.chain_strength(0, height, powers, marks)
        faulty = max(sum(held.get(key, 0) for key in self._faulty) for held in powers.values())
        if strength >= faulty:
            raise Violation(
                "what is stronger than the faulty is not undone",
                f"a block of strength {strength} at height {height}, {faulty} faulty, and another beside it",
            )

    def _line_to(self, digest: bytes) -> dict[bytes, None]:
        line: dict[bytes, None] = {}
        while digest in self._blocks:
            line[digest] = None
            digest = self._blocks[digest].parent
        return line

    def _named(self, height: int, certificate: Certificate) -> None:
        """Two commits at a height convict: only the faulty, and enough of them."""
        if certificate.height != height:
            certificates = [c for value in self._decided[height] for c in self._commits[value]]
        else:
            certificates = [certificate]
        rivals = [c for value in self._decided[height] for c in self._commits[value]]
        polkas = list(self._polkas(height))
        for first, second in product(certificates, rivals):
            if first.value == second.value:
                continue
            members = self._members[first.value]
            convicted = conflicting_certificates(first, second, polkas)
            power = sum(members.power(key) for key in convicted)
            faulty = sum(members.power(key) for key in self._faulty)
            if not self._faulty.issuperset(convicted):
                raise Violation(
                    "evidence convicts only the guilty", f"a fork at height {height} convicts others"
                )
            named = power >= quorum.guilty_on_a_fork(members.total)
            if not named and not quorum.is_quorum(faulty, members.total):
                raise Violation(
                    "a fork names the guilty",
                    f"power {power} of {members.total} is named at height {height}, {faulty} is faulty",
                )
