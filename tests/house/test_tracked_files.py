"""What is committed holds for every machine and is finished."""

import re

import pytest

from tests.house.source import ROOT, tracked_lines

# Written in two halves, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(" + "TO" + "DO|FIX" + "ME|XX" + r"X)\b")
MACHINE_PATHS = re.compile(r"/(" + "home|root|Users|work|workspace|opt" + r")/\w")
REGISTRIES = re.compile(
    r"\b("
    + "py"
    + r"pi\.org|python"
    + r"hosted\.org|registry\.np"
    + r"mjs\.org|deb\.deb"
    + r"ian\.org|cra"
    + r"tes\.io)\b"
)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (UNFINISHED, "say it in an issue, or finish it"),
        (MACHINE_PATHS, "a path of one machine"),
        (REGISTRIES, "where packages come from is each machine's own configuration"),
    ],
    ids=["unfinished", "machine paths", "registries"],
)
def test_no_line_is_unfinished_or_for_one_machine(pattern: re.Pattern[str], why: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path, number, line in tracked_lines()
        if pattern.search(line)
    ]
    assert not found, f"{why}:\n" + "\n".join(found)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_versions_and_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    unhashed = [entry for entry in re.split(r"\n(?=\S)", text.strip()) if "--hash=sha256:" not in entry]
    assert not unhashed, unhashed


def test_what_is_tested_is_what_runs() -> None:
    def pins(lock: str) -> set[str]:
        return set(re.findall(r"^(\S+==\S+)", (ROOT / lock).read_text(), re.MULTILINE))

    missing = pins("requirements.lock") - pins("requirements-dev.lock")
    assert not missing, f"requirements-dev.lock has other versions of {missing}; run scripts/lock"
