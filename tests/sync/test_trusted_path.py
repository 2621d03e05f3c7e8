"""Walking down from the trusted block: what it is held to, and how little of it is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from consensus.blocks import Block
from prsm_node.sync import trusted_path
from prsm_node.sync.sources import Lie
from prsm_node.sync.trusted_path import OffTheWay, TrustedPath
from prsm_node.wire.payloads import HeadersWanted
from tests.sync.chains import NETWORK, MadeChain

CHAIN, RIVAL = MadeChain(60), MadeChain(60, salt=3)


def answered(wanted: HeadersWanted, chain: MadeChain = CHAIN, count: int | None = None) -> list[Block]:
    lowest = wanted.height - min(wanted.count, count or wanted.count)
    return [chain.block(height) for height in range(wanted.height, lowest, -1)]


def walked(path: TrustedPath, near: int, count: int = 7) -> int:
    """Walk until the hashes up to `near` are known; return how many headers that took."""
    taken = 0
    while (wanted := path.wanted(near)) is not None:
        headers = answered(wanted, count=count)
        path.take(headers)
        taken += len(headers)
    return taken


@given(base=st.integers(0, 50), above=st.integers(1, 10), count=st.integers(1, 60))
def test_the_way_is_known_once_it_meets_the_nodes_own_tip(base: int, above: int, count: int) -> None:
    path = TrustedPath(base + above, CHAIN.digest(base + above), base, CHAIN.digest(base))
    assert path.digest(base + 1) is None, "nothing counts before the way is whole"
    assert walked(path, base + 1, count) == above
    for height in range(base + 1, base + above + 1):
        assert path.digest(height) == CHAIN.digest(height)
    assert path.digest(base + above + 1) is None
    assert path.covers(base + above)
    assert not path.covers(base + above + 1)


def test_the_first_header_that_is_not_the_one_asked_for_is_a_lie_and_what_came_before_is_kept() -> None:
    path = TrustedPath(40, CHAIN.digest(40), 0, NETWORK)
    with pytest.raises(Lie, match=r"sync\.untrusted"):
        path.take(answered(HeadersWanted(40, 5), RIVAL))
    spoilt = answered(HeadersWanted(40, 5))
    spoilt[3] = replace(spoilt[3], state_root=b"\xff" * 32)
    with pytest.raises(Lie, match=r"sync\.header"):
        path.take(spoilt)
    assert path.wanted(1) == HeadersWanted(37, 37)
    for headers in ([], answered(HeadersWanted(37, 5))[1:], answered(HeadersWanted(37, 37)) * 2):
        with pytest.raises(Lie):
            path.take(headers)
    assert walked(path, 1) <= 37
    assert path.proven


def test_a_node_whose_own_blocks_are_a_rivals_learns_it_at_the_end_of_the_way() -> None:
    path = TrustedPath(40, CHAIN.digest(40), 20, RIVAL.digest(20))
    with pytest.raises(OffTheWay):
        walked(path, 21)
    assert not path.proven
    assert path.digest(21) is None


def test_a_long_way_is_kept_in_marks_and_walked_again_as_execution_comes_near(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trusted_path, "KEPT_MAX", 10)
    monkeypatch.setattr(trusted_path, "MARK_EVERY", 5)
    path = TrustedPath(58, CHAIN.digest(58), 0, NETWORK)
    assert walked(path, 1) == 58
    assert path.digest(9) == CHAIN.digest(9)
    assert path.digest(20) is None
    again = 0
    for height in range(1, 59):
        again += walked(path, height)
        assert path.digest(height) == CHAIN.digest(height)
        path.executed(height)
        assert len(path._known) <= 10 + 5
    assert again <= 58, "each header once more at most"
