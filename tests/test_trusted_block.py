"""What an invite vouched for outlives restarts, and no rival history passes it."""

from pathlib import Path

import pytest

from consensus.blocks import Block, block_digest
from prsm_node.errors import OperatorError
from prsm_node.invite import DAY_MS
from prsm_node.trusted_block import TrustedBlock, UntrustedChain, check, load, save

NETWORK = bytes(32)
BELOW = b"b" * 32
DATA = Path("data")


def block(height: int, time_ms: int = 1, parent: bytes = BELOW) -> Block:
    return Block(height, parent, time_ms, bytes(32), (), (), bytes(32), bytes(32))


TRUSTED = TrustedBlock(5, block_digest(block(5)), 1)


def test_the_trusted_block_is_kept_in_the_home_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "trusted-block.json"
    assert load(path) is None
    save(TRUSTED, path)
    assert load(path) == TRUSTED
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    ["", '{"height":1}', '{"height":5,"hash":"z","time_ms":1}', '{"height":5,"hash":"a0","time_ms":1}'],
)
def test_a_damaged_file_is_one_sentence_with_the_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trusted-block.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(OperatorError, match=r"trusted-block.json can't be read: .*; join again") as refusal:
        load(path)
    assert "\n" not in str(refusal.value)


def test_what_is_refused_is_told_with_its_place_and_what_can_be_mended_with_the_remedy() -> None:
    assert "another block at height 5" in TRUSTED.contradicted()
    assert "remove its data folder" in TRUSTED.off_the_way()


def test_a_home_that_executed_a_rival_of_the_trusted_block_does_not_start() -> None:
    check(TRUSTED, 7, TRUSTED.hash, DAY_MS, 2, DATA)
    check(TRUSTED, 7, None, DAY_MS, 2, DATA)
    with pytest.raises(UntrustedChain, match=r"another block at height 5 .*; remove that folder"):
        check(TRUSTED, 7, b"r" * 32, DAY_MS, 2, DATA)


def test_trust_that_aged_before_its_height_was_reached_is_refused_and_later_none_is_needed() -> None:
    check(TRUSTED, 4, None, DAY_MS, DAY_MS, DATA)
    with pytest.raises(UntrustedChain, match=r"is 1 days old, .*; join with a new invite"):
        check(TRUSTED, 4, None, DAY_MS, 1 + DAY_MS, DATA)
    check(TRUSTED, 5, TRUSTED.hash, DAY_MS, 9 * DAY_MS, DATA)
