"""A file or folder is named for its subject; a drawer for everything has none."""

import re

import pytest

from tests.house.source import ROOT, tracked_files

DRAWERS = {
    *("util", "utils", "helper", "helpers", "common", "misc", "manager", "managers", "types"),
    *("shared", "lib", "stuff", "base", "junkdrawer"),
}


def test_no_file_or_folder_is_a_drawer() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in tracked_files()
        if DRAWERS & {part.split(".")[0].lower() for part in path.relative_to(ROOT).parts}
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("script", ["run", "test", "install", "lock", "check-fresh", "soak", "../.ci/run"])
def test_scripts_can_be_run_and_stop_at_the_first_failure(script: str) -> None:
    path = ROOT / "scripts" / script
    lines = path.read_text().splitlines()
    assert path.stat().st_mode & 0o111, f"{script} is not executable"
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines, f"{script} goes on after a failure"


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_documents_name_only_what_is_there(document: str) -> None:
    text = (ROOT / document).read_text()
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    quoted = re.findall(r"`([\w.-]+/[\w./-]*|\w+\.py)`", text)
    missing = [
        name for name in linked + quoted if not any((ROOT / at / name).exists() for at in ("", "prsm_node"))
    ]
    assert not missing, f"{document} names what is not there: {missing}"
