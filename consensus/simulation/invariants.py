"""What must hold at every step, whoever is faulty: PROTOCOL's promises, as seen by one who sees everything.

A break raises `Violation`. With more than a third faulty, two decisions are not ruled out and are not held
against the protocol (forks.py has what is promised of them); no double signing and no honest convict is
promised even then.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

from consensus.blocks import Block, CheckedProposal, block_digest
from consensus.certificates import Certificate
from consensus.dissemination.acknowledgements import Acknowledgement, TipCertificate
from consensus.dissemination.batches import EMPTY_LANE, BatchHeader, batch_digest
from consensus.evidence import Evidence, evidence_of_votes, guilty
from consensus.quorum import is_quorum
from consensus.simulation.execution import Execution
from consensus.simulation.violation import Violation
from consensus.validators import ValidatorSet
from consensus.votes import Vote, VoteKind


class Invariants:
    """Args:
    faulty: the keys of those that need not keep to the protocol.
    execution: what blocks do to state and set.
    held: finds a batch that an honest validator holds durably.
    window: how far a lane may run ahead of its committed tip.
    """

    def __init__(
        self,
        validators: ValidatorSet,
        names: dict[bytes, str],
        faulty: Iterable[bytes],
        execution: Execution,
        held: Callable[[bytes], BatchHeader | None],
        window: int,
    ) -> None:
        self.faulty = frozenset(faulty)
        self.faulty_power = sum(validators.power(key) for key in self.faulty)
        self.bounded = 3 * self.faulty_power < validators.total
        """Whether the faulty have less than a third of the power."""
        self.chain: list[bytes] = []
        self.blocks: dict[bytes, Block] = {}
        self._execution = execution
        self._held = held
        self._window = window
        self._roots = [execution.genesis.root]
        self._sets: dict[int, bytes] = {}
        self._names = names
        self._votes: defaultdict[tuple[bytes, int], list[Vote]] = defaultdict(list)
        self._places: dict[tuple[bytes, str, object, int], object] = {}
        self._certified: dict[tuple[bytes, int], bytes] = {}
        self._available: set[bytes] = {EMPTY_LANE}
        self._tips: dict[bytes, int] = {}

    # --- what is signed ---------------------------------------------------------------------------

    def vote_signed(self, vote: Vote) -> None:
        """An honest vote left: it clashes with none that its signer ever sent."""
        votes = self._votes[vote.voter, vote.height]
        for other in votes:
            found = evidence_of_votes(other, vote)
            if found is not None:
                raise Violation(
                    "the honest sign nothing twice and forget no lock",
                    f"{self._name(vote.voter)} signed {told(other)} and {told(vote)} at height {vote.height}",
                )
        if vote not in votes:
            votes.append(vote)

    def proposal_signed(self, proposal: CheckedProposal) -> None:
        content = (proposal.valid_round, block_digest(proposal.block))
        self._once((proposal.proposer, "proposal", proposal.height, proposal.round), content)

    def batch_signed(self, batch: BatchHeader) -> None:
        self._once((batch.author, "batch", batch.sequence, 0), batch_digest(batch))

    def acknowledged(self, given: Acknowledgement) -> None:
        self._once((given.voter, "acknowledgement", given.author, given.sequence), given.digest)
        ahead = given.sequence - self._tips.get(given.author, 0)
        if self.bounded and ahead > self._window:
            raise Violation(
                "nobody acknowledges beyond the window",
                f"{self._name(given.voter)} gave one {ahead} ahead in the lane of {self._name(given.author)}",
            )

    def _once(self, place: tuple[bytes, str, object, int], content: object) -> None:
        if self._places.setdefault(place, content) != content:
            raise Violation(
                "the honest sign nothing twice and forget no lock",
                f"{self._name(place[0])} signed two contents: {place[1]} at {place[3]}",
            )

    # --- what is found ----------------------------------------------------------------------------

    def evidence_found(self, finder: str, evidence: Evidence) -> None:
        if guilty(evidence) not in self.faulty:
            raise Violation(
                "evidence convicts only the guilty",
                f"{finder} convicts {self._name(guilty(evidence))} of {type(evidence).__name__}",
            )

    def certificate_made(self, maker: str, certificate: Certificate, members: ValidatorSet) -> None:
        """`members` is the set of its height."""
        voters = [vote.voter for vote in certificate.votes]
        self._quorum(maker, voters, members, f"height {certificate.height}", certificate.kind)

    def tip_certified(self, maker: str, certificate: TipCertificate, members: ValidatorSet) -> None:
        """An honest validator made it, or took it in after its check. `members` is the set it weighs by."""
        if certificate.digest in self._available and self.bounded:
            return
        author, sequence = certificate.author, certificate.sequence
        self._quorum(maker, [voter for voter, _ in certificate.votes], members, f"batch {sequence}", "tip")
        if not self.bounded:
            return
        if self._certified.setdefault((author, sequence), certificate.digest) != certificate.digest:
            raise Violation(
                "one digest is certified at a sequence", f"two at {sequence} of {self._name(author)}"
            )
        digest = certificate.digest
        while digest not in self._available:
            batch = self._held(digest)
            if batch is None:
                raise Violation(
                    "every certified batch can be had from an honest node, and all below it",
                    f"nobody has one at or below {sequence} of {self._name(author)}",
                )
            self._available.add(digest)
            digest = batch.parent

    def _quorum(
        self, maker: str, voters: list[bytes], members: ValidatorSet, where: str, kind: object
    ) -> None:
        power = sum(members.power(voter) for voter in voters)
        if len(set(voters)) != len(voters) or not is_quorum(power, members.total):
            raise Violation(
                "a certificate is a quorum of distinct voters",
                f"{maker} made one of power {power} of {members.total} ({kind}, {where})",
            )

    # --- what is decided --------------------------------------------------------------------------

    def decided(self, by: str, block: Block, members: ValidatorSet | None) -> None:
        """`members` is the set of its height, as the one who decides knows it."""
        digest, height = block_digest(block), block.height
        for piece in block.evidence:
            self.evidence_found(by, piece)
        if (
            self.bounded
            and members is not None
            and self._sets.setdefault(height, members.hash) != members.hash
        ):
            raise Violation("sets are equal at equal heights", f"{by} has another one at height {height}")
        if len(self.chain) >= height:
            if self.chain[height - 1] != digest and self.bounded:
                raise Violation("agreement", f"{by} decides a second block at height {height}")
            return
        if self.bounded:
            self._validity(by, block, members)
        self.chain.append(digest)
        self.blocks[digest] = block
        if self.bounded:
            self._roots.append(self._execution.after(block).root)

    def judged_alike(self, by: str, block: Block, refusing: list[str]) -> None:
        """Whether a block is valid is the same for all: it hangs on block and chain alone (Blocks 2)."""
        if refusing:
            raise Violation(
                "a block is valid for all or for none",
                f"{by} decides one at height {block.height} that {', '.join(refusing)} found invalid",
            )

    def _validity(self, by: str, block: Block, members: ValidatorSet | None) -> None:
        height = block.height
        if block.state_root != self._roots[max(0, height - 2)]:
            raise Violation("validity", f"{by} decides a block with a wrong root at height {height}")
        parent = self.blocks[self.chain[-1]] if self.chain else None
        if parent is not None and (block.parent != self.chain[-1] or block.time_ms <= parent.time_ms):
            raise Violation("validity", f"{by} decides a block that follows nothing at height {height}")
        if members is not None and members.power(block.proposer) == 0:
            raise Violation("validity", f"{by} decides a stranger's block at height {height}")
        for tip in block.tips:
            last = self._tips.get(tip.author, 0)
            if tip.sequence <= last or tip.digest not in self._available:
                raise Violation(
                    "validity",
                    f"{by} decides a block at height {height} that lists {tip.sequence} of "
                    f"{self._name(tip.author)} after {last}",
                )
            self._tips[tip.author] = tip.sequence

    def _name(self, key: bytes) -> str:
        return self._names.get(key, key.hex()[:8])


def told(vote: Vote) -> str:
    """A vote, for people."""
    kind = "prevote" if vote.kind is VoteKind.PREVOTE else "precommit"
    value = vote.value.hex()[:6] if vote.value is not None else "nil"
    mark = vote.polka_round if vote.kind is VoteKind.PREVOTE else vote.diverged
    return f"{kind}({vote.height}, {vote.round}, {value}, {mark})"
