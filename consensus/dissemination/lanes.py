"""Lanes: each author's chain of batches above its committed tip, its acknowledgements and certificates.

PROTOCOL, "Lanes". Batches are kept by digest, since a faulty author may show two at one sequence and either
may get the certificate; but one digest per (author, sequence) is acknowledged here, ever. The host keeps
bodies.
"""

from collections.abc import Iterable

import msgspec

from consensus.blocks import Tip
from consensus.dissemination.acknowledgements import (
    Acknowledgement,
    CheckedAcknowledgement,
    CheckedTipCertificate,
    TipCertificate,
)
from consensus.dissemination.batches import EMPTY_LANE, BatchHeader, CheckedBatch, batch_digest
from consensus.effects import (
    CastAcknowledgement,
    CastBatch,
    Effect,
    FetchBatch,
    ReportEvidence,
    SendTipCertificate,
)
from consensus.evidence import AcknowledgementEquivocation, BatchEquivocation, conflicting_tips
from consensus.inputs import Link
from consensus.quorum import is_quorum
from consensus.validators import ValidatorSet


class Lane:
    """One author's lane. `batches` holds what lies above the committed tip, at most 2W of them."""

    def __init__(self, author: bytes, committed: Tip) -> None:
        self.author = author
        self.committed = committed
        self.batches: dict[bytes, CheckedBatch] = {}
        self.acknowledged: dict[int, bytes] = {}
        self.withheld: dict[int, CheckedBatch] = {}
        """What waits for its acknowledgement until signing is allowed: the first at each sequence."""
        self.certificates: dict[int, CheckedTipCertificate] = {}
        self.contested: set[int] = set()
        """Where a second digest was certified."""
        self.orphans: dict[bytes, tuple[Link, CheckedBatch]] = {}
        """By the digest of the parent that is missing; as bounded as `batches`."""

    def connects(self, header: BatchHeader) -> bool:
        """Whether the chain from `header` back to the committed tip is at hand."""
        if header.sequence == self.committed.sequence + 1:
            return header.parent == self.committed.digest
        parent = self.batches.get(header.parent)
        return parent is not None and parent.sequence == header.sequence - 1

    def vouched_below(self, header: BatchHeader) -> bool:
        """Whether the batch below is one that our acknowledgement or a quorum's stands for.

        A rival of what we acknowledged there is held in memory alone, here as elsewhere: a certificate above
        it would promise what a crash of all can lose.
        """
        below = header.sequence - 1
        if below == self.committed.sequence:
            return True
        certificate = self.certificates.get(below)
        if certificate is not None and certificate.digest == header.parent:
            return True
        withheld = self.withheld.get(below)
        return header.parent in (self.acknowledged.get(below), withheld and batch_digest(withheld))

    def commit(self, tip: Tip) -> None:
        """Move the committed tip; batches at or below it, rivals among them, are forgotten here."""
        assert tip.sequence > self.committed.sequence, (
            f"lane goes back from {self.committed.sequence} to {tip.sequence}"
        )
        self.committed = tip
        self.batches = {d: b for d, b in self.batches.items() if b.sequence > tip.sequence}
        self.certificates = {s: c for s, c in self.certificates.items() if s > tip.sequence}
        self.contested = {s for s in self.contested if s > tip.sequence}
        self.acknowledged = {s: d for s, d in self.acknowledged.items() if s > tip.sequence}
        self.withheld = {s: b for s, b in self.withheld.items() if s > tip.sequence}
        self.orphans = {d: o for d, o in self.orphans.items() if o[1].sequence > tip.sequence}


class OwnBatch(msgspec.Struct):
    """A batch of ours on its way to a certificate."""

    header: CheckedBatch
    digest: bytes
    signatures: dict[bytes, bytes]


class Lanes:
    """All lanes, as one validator knows them.

    Args:
        me: this validator's key, or None for a node that only follows.
        validators: the current set; its members may author batches.
        window: W, how many batches a lane may run ahead of its committed tip.
        advance_max: K, how many batches a block may advance a lane.
    """

    def __init__(self, me: bytes | None, validators: ValidatorSet, window: int, advance_max: int) -> None:
        self.me = me
        self.validators = validators
        self.window = window
        self.advance_max = advance_max
        self._lanes = {key: Lane(key, Tip(key, 0, EMPTY_LANE)) for key in validators.powers}
        self._closed: dict[bytes, Lane] = {}
        """Of those that left: who returns goes on where it was, and what was acknowledged stays so."""
        self._own_head = Tip(me or b"", 0, EMPTY_LANE)
        self._own: dict[bytes, OwnBatch] = {}
        self._seen_lacking: set[bytes] = set()
        self._twofold: set[bytes] = set()
        """Who acknowledged two batches at one place of our lane: proven once, and not looked at again."""
        self._acknowledging = False

    def lane(self, author: bytes) -> Lane | None:
        return self._lanes.get(author)

    def all(self) -> Iterable[Lane]:
        return self._lanes.values()

    def restore_committed(self, tips: Iterable[Tip]) -> None:
        """Take the committed tips of a chain that was executed before."""
        for tip in tips:
            lanes = self._lanes if self.validators.power(tip.author) > 0 else self._closed
            lanes.setdefault(tip.author, Lane(tip.author, tip)).committed = tip
            if tip.author == self.me and tip.sequence > self._own_head.sequence:
                self._own_head = tip

    def restore_batch(self, batch: CheckedBatch, acknowledgement: CheckedAcknowledgement | None) -> None:
        """Take back what the journal holds: a batch stored, and the acknowledgement given for it."""
        digest = batch_digest(batch)
        lane = self._lanes.get(batch.author)
        if lane is None:
            closed = Lane(batch.author, Tip(batch.author, 0, EMPTY_LANE))
            lane = self._closed.setdefault(batch.author, closed)
        own = batch.author == self.me
        if own and batch.sequence > self._own_head.sequence:
            self._own_head = Tip(batch.author, batch.sequence, digest)
        if batch.sequence <= lane.committed.sequence:
            return
        lane.batches[digest] = batch
        if acknowledgement is not None:
            lane.acknowledged[batch.sequence] = digest
            if own:
                self._own[digest] = OwnBatch(
                    batch, digest, {acknowledgement.voter: acknowledgement.signature}
                )

    def change_set(self, validators: ValidatorSet) -> None:
        """Let new members author batches. A leaver's lane closes: it is no longer listed (Lanes 3).

        A certificate weighs by the set of the height that lists it: what is no quorum of this one is dropped,
        and our own such batches are sent again for more acknowledgements.
        """
        self.validators = validators
        for key in [key for key in self._lanes if validators.power(key) == 0]:
            self._closed[key] = self._lanes.pop(key)
        for key in validators.powers:
            if key not in self._lanes:
                closed = self._closed.pop(key, Lane(key, Tip(key, 0, EMPTY_LANE)))
                self._lanes[key] = closed
        for lane in self._lanes.values():
            before, lane.certificates = lane.certificates, {}
            for sequence, certificate in before.items():
                votes = tuple(vote for vote in certificate.votes if validators.power(vote[0]) > 0)
                if is_quorum(sum(validators.power(voter) for voter, _ in votes), validators.total):
                    held = msgspec.structs.replace(certificate, votes=votes)
                    lane.certificates[sequence] = CheckedTipCertificate(held)
                elif lane.author == self.me and (batch := lane.batches.get(certificate.digest)) is not None:
                    self._own[certificate.digest] = OwnBatch(batch, certificate.digest, dict(votes))

    # --- own lane ---------------------------------------------------------------------------------

    @property
    def own_head(self) -> Tip:
        """The last batch of our lane, whether or not it is durable or certified."""
        return self._own_head

    def room(self) -> int:
        """How many more batches this node may author before one is committed (Lanes 4)."""
        lane = self._lanes.get(self.me or b"")
        return 0 if lane is None else self.window - (self._own_head.sequence - lane.committed.sequence)

    def outstanding(self) -> int:
        """How many own batches lack a certificate."""
        return len(self._own)

    def seal(self, body: bytes) -> list[Effect]:
        """Chain a body of ours into our lane."""
        assert self.me is not None, "a node without a validator key authors no batch"
        assert self.room() > 0, "the own lane has no room; ask room() before sealing"
        header = BatchHeader(self.me, self._own_head.sequence + 1, self._own_head.digest, body)
        self._own_head = Tip(self.me, header.sequence, batch_digest(header))
        return [CastBatch(header)]

    def batch_cast(self, batch: CheckedBatch, acknowledgement: CheckedAcknowledgement) -> list[Effect]:
        """Our batch is durable and on its way, and we are the first to acknowledge it."""
        digest = batch_digest(batch)
        lane = self._lanes.get(batch.author) or self._closed.get(batch.author)
        if lane is None or batch.sequence <= lane.committed.sequence:
            return []
        lane.batches[digest] = batch
        lane.acknowledged[batch.sequence] = digest
        self._own[digest] = OwnBatch(batch, digest, {acknowledgement.voter: acknowledgement.signature})
        return self._certify(self._own[digest])

    def receive_acknowledgement(self, acknowledgement: CheckedAcknowledgement) -> list[Effect]:
        """Count one acknowledgement of an own batch; a quorum certifies it. One of a batch that is not ours
        convicts who has acknowledged ours at that place."""
        if self.validators.power(acknowledgement.voter) == 0:
            return []
        own = self._own.get(acknowledgement.digest)
        if own is None or own.header.sequence != acknowledgement.sequence:
            ours = self._ours_given(acknowledgement)
            if ours is None:
                return []
            self._twofold.add(ours.voter)
            return [ReportEvidence(AcknowledgementEquivocation(first=ours, second=acknowledgement))]
        own.signatures.setdefault(acknowledgement.voter, acknowledgement.signature)
        return self._certify(own)

    def _ours_given(self, rival: Acknowledgement) -> Acknowledgement | None:
        """What a voter gave for our batch at the place where it acknowledges another one, if that is here."""
        lane = self._lanes.get(self.me or b"")
        digest = lane.acknowledged.get(rival.sequence) if lane is not None else None
        if lane is None or digest in (None, rival.digest) or rival.voter in self._twofold:
            return None
        own, certificate = self._own.get(digest), lane.certificates.get(rival.sequence)
        given = own.signatures if own is not None else {}
        if certificate is not None and certificate.digest == digest:
            given = dict(certificate.votes)
        if rival.voter not in given:
            return None
        return Acknowledgement(rival.author, rival.sequence, digest, rival.voter, given[rival.voter])

    def _certify(self, own: OwnBatch) -> list[Effect]:
        powers = self.validators.powers
        if own.header.author not in powers:
            return []
        votes = tuple(sorted(vote for vote in own.signatures.items() if vote[0] in powers))
        if not is_quorum(sum(powers[voter] for voter, _ in votes), self.validators.total):
            return []
        del self._own[own.digest]
        certificate = CheckedTipCertificate(
            TipCertificate(own.header.author, own.header.sequence, own.digest, votes)
        )
        self._lanes[own.header.author].certificates[own.header.sequence] = certificate
        return [SendTipCertificate(certificate)]

    def certify_held(self) -> list[Effect]:
        """Certify own batches of which a quorum's acknowledgements are at hand: after a restart that can be
        ours alone, and nothing comes that would have it counted."""
        held = [self._own[digest] for digest in self.uncertified()]
        return [effect for own in held for effect in self._certify(own)]

    def uncertified(self) -> list[bytes]:
        """The digests of own batches that lack a certificate, oldest first."""
        return [own.digest for own in sorted(self._own.values(), key=lambda own: own.header.sequence)]

    def overdue(self) -> list[bytes]:
        """The digests of own batches that lacked a certificate when this was last asked and still do."""
        lacking = self.uncertified() if self.validators.power(self.me or b"") > 0 else []
        overdue = [digest for digest in lacking if digest in self._seen_lacking]
        self._seen_lacking = set(lacking)
        return overdue

    def own_certificate(self) -> CheckedTipCertificate | None:
        """The furthest certificate of our lane that no block has ordered yet."""
        lane = self._lanes.get(self.me or b"")
        if lane is None or not lane.certificates:
            return None
        return lane.certificates[max(lane.certificates)]

    # --- all lanes --------------------------------------------------------------------------------

    def wants(self, header: BatchHeader) -> bool:
        """Whether a batch is worth checking: near its lane's committed tip, not yet held."""
        lane = self._lanes.get(header.author)
        if lane is None or header.author == self.me:
            return False
        ahead = header.sequence - lane.committed.sequence
        if not 0 < ahead <= self.window or len(lane.batches) >= 2 * self.window:
            return False
        # A faulty author could show batches without parents for ever.
        return lane.connects(header) or header.parent in lane.orphans or len(lane.orphans) < self.window

    def keeps(self, author: bytes, digest: bytes) -> bool:
        """Whether a batch is held, or waits for its parent: the host drops the body of any other."""
        lane = self._lanes.get(author)
        if lane is None:
            return False
        return digest in lane.batches or any(
            batch_digest(orphan) == digest for _, orphan in lane.orphans.values()
        )

    def wants_acknowledgement(self, acknowledgement: Acknowledgement) -> bool:
        """Whether it is the first of its voter for an own batch that lacks its certificate, or convicts its
        voter."""
        own = self._own.get(acknowledgement.digest)
        if own is None or own.header.sequence != acknowledgement.sequence:
            return self._ours_given(acknowledgement) is not None
        return acknowledgement.voter not in own.signatures

    def receive_batch(self, batch: CheckedBatch, link: Link) -> list[Effect]:
        """Lanes 2: hold the chain, then acknowledge one digest per (author, sequence), ever."""
        lane = self._lanes.get(batch.author)
        if lane is None or not 0 < batch.sequence - lane.committed.sequence <= self.window:
            return []
        if not lane.connects(batch):
            below = batch.sequence > lane.committed.sequence + 1
            known = lane.orphans.get(batch.parent)
            if not below or (known is None and len(lane.orphans) >= self.window):
                return []
            if known is not None and batch_digest(known[1]) != batch_digest(batch):
                return []  # a rival; the one that gets a certificate is fetched by its digest
            lane.orphans[batch.parent] = (link, batch)
            return [FetchBatch(batch.author, batch.parent, link)]
        effects = self._hold(lane, batch)
        digest = batch_digest(batch)
        while (orphan := lane.orphans.pop(digest, None)) is not None:
            effects += self._hold(lane, orphan[1])
            digest = batch_digest(orphan[1])
        return effects

    def _hold(self, lane: Lane, batch: CheckedBatch) -> list[Effect]:
        digest = batch_digest(batch)
        effects: list[Effect] = []
        given = lane.acknowledged.get(batch.sequence)
        if given is None and batch.sequence in lane.withheld:
            given = batch_digest(lane.withheld[batch.sequence])
        if digest not in lane.batches:
            if len(lane.batches) >= 2 * self.window:
                return []
            lane.batches[digest] = batch
        if given is not None and given != digest:
            rival = lane.batches.get(given)
            if rival is not None:
                effects.append(ReportEvidence(BatchEquivocation(first=rival, second=batch)))
            return effects
        if self.me is None or self.validators.power(self.me) == 0 or batch.author == self.me:
            return effects
        if not lane.vouched_below(batch):
            return effects
        if not self._acknowledging:
            lane.withheld[batch.sequence] = batch
            return effects
        lane.acknowledged[batch.sequence] = digest
        effects.append(
            CastAcknowledgement(batch, Acknowledgement(batch.author, batch.sequence, digest, self.me))
        )
        return effects

    def allow_acknowledging(self) -> list[Effect]:
        """No other node signs with our key (PROTOCOL, Twin): acknowledge, and what came meanwhile first."""
        self._acknowledging = True
        effects: list[Effect] = []
        for lane in self._lanes.values():
            withheld, lane.withheld = lane.withheld, {}
            for sequence in sorted(withheld):
                effects += self._hold(lane, withheld[sequence])
        return effects

    def receive_certificate(self, certificate: CheckedTipCertificate, link: Link) -> list[Effect]:
        """Keep a certificate above the committed tip; bring in the batch it names, where it is missing."""
        lane = self._lanes.get(certificate.author)
        if lane is None or not 0 < certificate.sequence - lane.committed.sequence <= self.window:
            return []
        known = lane.certificates.setdefault(certificate.sequence, certificate)
        if known.digest != certificate.digest:
            lane.contested.add(certificate.sequence)
            return [ReportEvidence(found) for found in conflicting_tips(known, certificate)]
        if certificate.author == self.me:
            self._own.pop(certificate.digest, None)
        if certificate.digest in lane.batches:
            return []
        return [FetchBatch(certificate.author, certificate.digest, link)]

    def wants_certificate(self, certificate: TipCertificate) -> bool:
        """Whether it is the first of its place, or the first rival there, which convicts who acknowledged
        both."""
        lane = self._lanes.get(certificate.author)
        if lane is None or not 0 < certificate.sequence - lane.committed.sequence <= self.window:
            return False
        known = lane.certificates.get(certificate.sequence)
        return known is None or (
            known.digest != certificate.digest and certificate.sequence not in lane.contested
        )

    def certified_work(self) -> bool:
        """Whether a lane has a certified tip that no block has ordered yet (Agreement 3)."""
        return any(lane.certificates for lane in self._lanes.values())

    def commit(self, tips: tuple[Tip, ...]) -> None:
        """A block ordered the lanes up to these tips."""
        for tip in tips:
            lane = self._lanes.get(tip.author)
            assert lane is not None, "a decided block lists a lane that no validator of its set authors"
            lane.commit(tip)
            if tip.author == self.me:
                self._own = {d: own for d, own in self._own.items() if own.header.sequence > tip.sequence}
                if tip.sequence > self._own_head.sequence:
                    self._own_head = tip
