"""The lanes' module of the state: its root covers the tip of every lane, whichever block last moved it."""

from consensus.blocks import Tip
from prsm_node.ledger.lanes import Lanes


def tip(author: int, sequence: int) -> Tip:
    return Tip(bytes([author]) * 32, sequence, bytes([sequence]) * 32)


def test_a_block_moves_the_lanes_that_it_lists_and_no_other() -> None:
    lanes = Lanes().after((tip(2, 1), tip(7, 1))).after(()).after((tip(1, 3), tip(7, 4)))
    assert lanes.tips == (tip(1, 3), tip(2, 1), tip(7, 4))


def test_the_root_depends_on_every_lane_and_not_on_the_way_there() -> None:
    at_once = Lanes().after((tip(1, 2), tip(2, 2)))
    apart = Lanes().after((tip(2, 1),)).after((tip(1, 2),)).after((tip(2, 2),))
    assert at_once.root == apart.root
    roots = {Lanes().root, at_once.root, at_once.after((tip(1, 3),)).root, Lanes((tip(1, 2),)).root}
    assert len(roots) == 4
