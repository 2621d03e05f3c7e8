"""What a killed simulation leaves in memory is removed by the next one, and nothing of one that runs."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from prsm_node.simulation.folders import PREFIX, clear, folder

OWNS = """
import sys
from pathlib import Path
from prsm_node.simulation.folders import folder
with folder(Path(sys.argv[1])) as own:
    (own / "n0").mkdir()
    print(own, flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_gone_with_its_owner_however_that_ends(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        left = Path(owner.stdout.readline().strip())
        assert clear(tmp_path) == 0, "its owner lives"
        assert left.is_dir()
        os.kill(owner.pid, signal.SIGKILL)
    assert left.is_dir()
    with folder(tmp_path) as own:
        assert not left.exists()
        assert own.is_dir()
    assert not list(tmp_path.iterdir())


def test_what_another_program_left_is_let_alone(tmp_path: Path) -> None:
    (tmp_path / "prsm-testnet-a").mkdir()
    (tmp_path / f"{PREFIX}file").write_text("no folder")
    assert clear(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 2


def held(process: int) -> list[Path]:
    """The folders that a process and its children own."""
    children = Path(f"/proc/{process}/task/{process}/children")
    found: list[Path] = []
    with suppress(OSError):
        for owner in (process, *map(int, children.read_text().split())):
            targets = (Path(os.readlink(link)) for link in Path(f"/proc/{owner}/fd").iterdir())
            found += [target for target in targets if target.name.startswith(PREFIX)]
    return found


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_simulation_that_is_asked_to_end_leaves_nothing(jobs: int, tmp_path: Path) -> None:
    asked = ("simulate", "--daemons", "--seeds", "0..999", "--jobs", str(jobs), "--out", str(tmp_path))
    with subprocess.Popen([sys.executable, "-m", "prsm_node", *asked], stderr=subprocess.PIPE) as simulate:
        try:
            ends = time.monotonic() + 30
            while len(owned := held(simulate.pid)) < jobs:
                assert time.monotonic() < ends
                time.sleep(0.05)
            simulate.terminate()
            _, told = simulate.communicate(timeout=20)
        finally:
            simulate.kill()
    assert simulate.returncode == 130
    assert told.decode().strip() == "prsm-node: interrupted"
    assert not [path for path in owned if path.exists()]
