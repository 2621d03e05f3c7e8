"""consensus/README.md tells the protocol that the code is."""

import re

import pytest

from consensus.agreement import rounds
from tests.house.source import ROOT

TOLD = (ROOT / "consensus/README.md").read_text(encoding="utf-8")


def test_the_table_of_rules_names_every_rule_and_no_other() -> None:
    told = re.findall(r"^\| `(line_\d+)` \|", TOLD, re.MULTILINE)
    coded = [name for name in vars(rounds) if re.fullmatch(r"line_\d+", name)]
    assert told == coded


@pytest.mark.parametrize("folder", ["consensus", "tests/consensus"])
def test_every_module_and_test_that_is_named_exists(folder: str) -> None:
    wanted = set(re.findall(r"`([a-z_/]+\.py)`", TOLD))
    tests = {name for name in wanted if name.rpartition("/")[2].startswith("test_")}
    named = tests if folder.startswith("tests") else wanted - tests
    assert named
    missing = sorted(name for name in named if not (ROOT / folder / name).is_file())
    assert not missing, f"consensus/README.md names what is not in {folder}: {missing}"
