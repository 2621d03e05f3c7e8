"""What must hold at every step, whoever is faulty: PROTOCOL's promises, as seen by one who sees everything.

A break raises `Violation`. With more than a third faulty, two decisions are not ruled out and are not held
against the protocol; no double signing and no honest convict is promised even then.
"""

from collections import defaultdict
from collections.abc import Iterable
from hashlib import sha256

import msgspec

from consensus.blocks import Block, CheckedProposal, block_digest
from consensus.certificates import Certificate
from consensus.dissemination.acknowledgements import TipCertificate
from consensus.dissemination.batches import BatchHeader, batch_digest
from consensus.evidence import Evidence, evidence_of_votes, guilty
from consensus.quorum import is_quorum
from consensus.validators import ValidatorSet
from consensus.votes import Vote, VoteKind


class Violation(AssertionError):
    """A promise was broken; the message names it, who, and where."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise


def root_after(height: int, block: Block | None) -> bytes:
    """The state root that executing `block` gives here: any pure function will do."""
    return sha256(msgspec.msgpack.encode((height, block))).digest()


class Invariants:
    """Args:
    faulty: the keys of those that need not keep to the protocol.
    bounded: whether they have less than a third of the power.
    """

    def __init__(
        self, validators: ValidatorSet, names: dict[bytes, str], faulty: Iterable[bytes], genesis: bytes
    ) -> None:
        self.validators = validators
        self.faulty = frozenset(faulty)
        self.bounded = 3 * sum(validators.power(key) for key in self.faulty) < validators.total
        self.chain: list[bytes] = []
        self.blocks: dict[bytes, Block] = {}
        self._roots = [genesis]
        self._names = names
        self._votes: defaultdict[tuple[bytes, int], list[Vote]] = defaultdict(list)
        self._places: dict[tuple[bytes, str, int, int], object] = {}
        self._certified: dict[tuple[bytes, int], bytes] = {}

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

    def acknowledged(self, voter: bytes, author: int, sequence: int, digest: bytes) -> None:
        self._once((voter, "acknowledgement", author, sequence), digest)

    def _once(self, place: tuple[bytes, str, int, int], content: object) -> None:
        if self._places.setdefault(place, content) != content:
            raise Violation(
                "the honest sign nothing twice and forget no lock",
                f"{self._name(place[0])} signed two contents: {place[1]} at {place[2:]}",
            )

    # --- what is found ----------------------------------------------------------------------------

    def evidence_found(self, finder: str, evidence: Evidence) -> None:
        if guilty(evidence) not in self.faulty:
            raise Violation(
                "evidence convicts only the guilty",
                f"{finder} convicts {self._name(guilty(evidence))} of {type(evidence).__name__}",
            )

    def certificate_made(self, maker: str, certificate: Certificate) -> None:
        self._quorum(
            maker,
            [vote.voter for vote in certificate.votes],
            f"height {certificate.height}",
            certificate.kind,
        )

    def tip_certified(self, maker: str, certificate: TipCertificate, holders: list[str]) -> None:
        """`holders` are the honest that hold the batch durably."""
        place = (certificate.author, certificate.sequence)
        self._quorum(maker, [voter for voter, _ in certificate.votes], f"batch {place[1]}", "tip")
        if not self.bounded:
            return
        if self._certified.setdefault(place, certificate.digest) != certificate.digest:
            raise Violation(
                "one digest is certified at a sequence",
                f"two at {certificate.sequence} of {self._name(certificate.author)}",
            )
        if not holders:
            raise Violation(
                "every certified batch is held by an honest node",
                f"nobody has {certificate.sequence} of {self._name(certificate.author)}",
            )

    def _quorum(self, maker: str, voters: list[bytes], where: str, kind: object) -> None:
        power = sum(self.validators.power(voter) for voter in dict.fromkeys(voters))
        if len(dict.fromkeys(voters)) != len(voters) or not is_quorum(power, self.validators.total):
            raise Violation(
                "a certificate is a quorum of distinct voters",
                f"{maker} made one of power {power} of {self.validators.total} ({kind}, {where})",
            )

    # --- what is decided --------------------------------------------------------------------------

    def decided(self, by: str, block: Block) -> None:
        digest, height = block_digest(block), block.height
        if len(self.chain) >= height:
            if self.chain[height - 1] != digest and self.bounded:
                raise Violation("agreement", f"{by} decides a second block at height {height}")
            return
        parent = self.blocks[self.chain[-1]] if self.chain else None
        if self.bounded:
            if block.state_root != self._roots[max(0, height - 2)]:
                raise Violation("validity", f"{by} decides a block with a wrong root at height {height}")
            if parent is not None and (
                block.parent != self.chain[-1] or block.time_ms <= parent.time_ms or not block.proposer
            ):
                raise Violation("validity", f"{by} decides a block that follows nothing at height {height}")
        self.chain.append(digest)
        self.blocks[digest] = block
        self._roots.append(root_after(height, block))

    def _name(self, key: bytes) -> str:
        return self._names.get(key, key.hex()[:8])


def told(vote: Vote) -> str:
    """A vote, for people."""
    kind = "prevote" if vote.kind is VoteKind.PREVOTE else "precommit"
    value = vote.value.hex()[:6] if vote.value is not None else "nil"
    mark = vote.polka_round if vote.kind is VoteKind.PREVOTE else vote.diverged
    return f"{kind}({vote.height}, {vote.round}, {value}, {mark})"
