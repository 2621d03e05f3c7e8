"""The tips of lanes: how far each lane is ordered, and which block may move it (PROTOCOL, Blocks 1-2)."""

from enum import Enum

from consensus.blocks import Tip
from consensus.dissemination.lanes import Lanes


class TipsVerdict(Enum):
    VALID = "valid"
    INVALID = "invalid"
    UNCERTIFIED = "uncertified"
    """Valid if the certificates that are missing here exist: fetch them before a prevote."""


def judge_tips(lanes: Lanes, tips: tuple[Tip, ...]) -> tuple[TipsVerdict, tuple[Tip, ...]]:
    """Judge a block's tips against the lanes as its parent left them; with the tips whose certificate is
    missing."""
    authors = [tip.author for tip in tips]
    if authors != sorted(set(authors)):
        return TipsVerdict.INVALID, ()
    missing = []
    for tip in tips:
        lane = lanes.lane(tip.author)
        if lane is None or not 0 < tip.sequence - lane.committed.sequence <= lanes.advance_max:
            return TipsVerdict.INVALID, ()
        certificate = lane.certificates.get(tip.sequence)
        if certificate is None:
            missing.append(tip)
        elif certificate.digest != tip.digest:
            # Two certified digests at one sequence need a third of faulty voters; the one we saw stays.
            return TipsVerdict.INVALID, ()
    return (TipsVerdict.UNCERTIFIED, tuple(missing)) if missing else (TipsVerdict.VALID, ())


def next_tips(lanes: Lanes) -> tuple[Tip, ...]:
    """Choose for each lane the furthest certified tip that a block may move it to; in order of author."""
    chosen = []
    for lane in lanes.all():
        reach = lane.committed.sequence + lanes.advance_max
        certified = [
            sequence for sequence in lane.certificates if lane.committed.sequence < sequence <= reach
        ]
        if certified:
            certificate = lane.certificates[max(certified)]
            chosen.append(Tip(certificate.author, certificate.sequence, certificate.digest))
    return tuple(sorted(chosen, key=lambda tip: tip.author))
