"""All threshold arithmetic, strength included (PROTOCOL, Strength). The only place with 3 * weight.

Powers are integers; `weight` is the power of some distinct voters, `total` the power of all.
"""

from collections.abc import Iterable, Mapping, Sequence


def is_quorum(weight: int, total: int) -> bool:
    """More than two thirds. Two quorums share more than a third, hence an honest voter."""
    return 3 * weight > 2 * total


def is_third(weight: int, total: int) -> bool:
    """More than a third: at least one honest voter, while less than a third is faulty."""
    return 3 * weight > total


def quorum(total: int) -> int:
    """Return the least weight that is a quorum."""
    return 2 * total // 3 + 1


def strength(weight: int, total: int) -> int:
    """Return the greatest faulty power that cannot undo a commit of `weight` (PROTOCOL, Strength).

    Another block needs a quorum of its own, from the faulty and the honest that did not sign: of the honest
    signers none helps (strict line 29 and `diverged` see to that), and the rest weigh `total - weight`.
    So faulty power F undoes it only if total - weight + F >= quorum.
    """
    return weight + quorum(total) - total - 1


def base_strength(total: int) -> int:
    """Return what the smallest certificate withstands."""
    return strength(quorum(total), total)


def guilty_on_a_fork(total: int) -> int:
    """Return the least power that two decisions at one height convict: what two quorums share."""
    return 2 * quorum(total) - total


Marks = Mapping[bytes, int]
"""One commit certificate as strength sees it: voter -> `diverged`."""


def undiverged(marks: Marks, powers: Mapping[bytes, int], height: int) -> int:
    """Return the power, in `height`'s set, of the precommits that speak for it: `diverged` lies below it."""
    return sum(powers.get(voter, 0) for voter, diverged in marks.items() if diverged < height)


def chain_strength(
    trusted: int,
    height: int,
    powers: Mapping[int, Mapping[bytes, int]],
    commits: Mapping[int, Sequence[Marks]],
) -> int:
    """Return the strength of block `height` seen from the trusted height below it.

    The least, over the heights above `trusted` up to `height`, of the best that a certificate at that height
    or a later one gives by that height's own set. Later blocks strengthen earlier ones, since an honest voter
    precommits a block only on top of the chain that it decided; `diverged` names those for whom that does
    not hold. `powers` has the set of each height in between, `commits` the certificates known at each height.
    A height without any certificate at or above it has strength -1: not even final.
    """
    assert trusted < height, f"height {height} is not above the trusted {trusted}"
    least = None
    for i in range(trusted + 1, height + 1):
        total = sum(powers[i].values())
        best = _best(
            i, powers[i], total, (marks for h, known in commits.items() if h >= i for marks in known)
        )
        least = best if least is None else min(least, best)
    assert least is not None
    return least


def _best(height: int, powers: Mapping[bytes, int], total: int, certificates: Iterable[Marks]) -> int:
    best, final = -1, False
    for marks in certificates:
        final = True
        best = max(best, strength(undiverged(marks, powers, height), total))
    # A certificate is at least a quorum of its own height's set: with some of it diverged, the block is still
    # as final as Tendermint makes any block.
    return max(best, base_strength(total)) if final else -1
